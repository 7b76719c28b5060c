"""Replaying a trace of real calls: exact totals, once, with bad lines named."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import Account, Member, User
from tests.conftest import Api
from usage import replay
from usage.models import Record, Replay

TRACE = Path(replay.__file__).parent / "data" / "azure_llm_2023_conv.csv"
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
GPT_4O = {"provider": "openai", "model": "gpt-4o"}


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def run(
    file: Path, account: Account, capsys: pytest.CaptureFixture[str], *flags: str
) -> tuple[str, list[str]]:
    """What the command says on standard output, and the problems it names on standard error."""
    call_command("replay_trace", file, *flags, account=account.public_id, **GPT_4O)
    said = capsys.readouterr()
    return said.out.strip(), [line for line in said.err.splitlines() if line.startswith("line ")]


def test_the_bundled_trace_is_the_published_one_unchanged() -> None:
    trace = replay.read_trace(TRACE)

    assert len(trace.calls) == 19_366
    assert sum(call.input_tokens for call in trace.calls) == 22_361_870
    assert sum(call.output_tokens for call in trace.calls) == 4_088_665
    assert hashlib.sha256(TRACE.read_bytes()).hexdigest() == trace.digest
    assert trace.problems == []


def test_the_whole_trace_costs_exactly_what_it_costs_and_counts_once(
    acme: Account, service_api: Api, capsys: pytest.CaptureFixture[str], totals_agree: None
) -> None:
    first, _ = run(TRACE, acme, capsys, "--members")
    again, _ = run(TRACE, acme, capsys, "--members")

    assert first == "19366 recorded, 0 known already, 0 skipped"
    assert again == "0 recorded, 19366 known already, 0 skipped"
    current = service_api.get("usage/current/", account=acme.public_id).json()
    assert current["lifetime_cost"] == {"USD": "9.6791325000", "INR": "808.2075637500"}
    range_of_all = {"from": "2020-01-01", "to": "2030-01-01"}
    points = service_api.get(
        "usage/trends/", account=acme.public_id, granularity="month", **range_of_all
    ).json()["points"]
    assert sum(point["requests"] for point in points) == 19_366
    assert sum(int(point["quantities"]["input_tokens"]) for point in points) == 22_361_870
    assert sum(int(point["quantities"]["output_tokens"]) for point in points) == 4_088_665
    by_user = service_api.get(
        "usage/trends/", account=acme.public_id, granularity="month", group_by="user", **range_of_all
    ).json()["points"]
    assert {point["group"] for point in by_user} == {"alice@example.com", "bob@example.com"}


def test_calls_are_stretched_over_the_thirty_days_before_the_first_run(
    acme: Account, trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace_file.write_text(
        HEADER + "".join(f"2023-11-16 18:{minute}:00.0000000,1,1\n" for minute in ("00", "15", "30"))
    )
    before = datetime.now(UTC)

    run(trace_file, acme, capsys)

    anchor = Replay.objects.get().anchor
    assert before <= anchor <= datetime.now(UTC)
    moments = list(Record.objects.order_by("occurred_at").values_list("occurred_at", flat=True))
    assert moments == [anchor - timedelta(days=30), anchor - timedelta(days=15), anchor]


def test_times_can_be_kept(acme: Account, trace_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace_file.write_text(HEADER + "2023-11-16 18:15:46.6805900,374,44\n")

    run(trace_file, acme, capsys, "--keep-times")

    record = Record.objects.get()
    assert record.occurred_at == datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)
    assert record.priced is False  # gpt-4o had no price in 2023


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("yesterday,1,1", "'yesterday' is not a timestamp"),
        ("2023-11-16 18:15:46,one,1", "ContextTokens 'one' is not a whole number"),
        ("2023-11-16 18:15:46,1,-1", "GeneratedTokens '-1' is not a whole number"),
        ("2023-11-16 18:15:46,1", "2 columns instead of 3"),
        ("2023-11-16 18:15:46,1,1,1", "4 columns instead of 3"),
        ("2023-13-16 18:15:46,1,1", "is not a timestamp"),
        ("2023-11-16 18:15:46,1.5,1", "ContextTokens '1.5' is not a whole number"),
        (f"2023-11-16 18:15:46,{'1' * 200_000},1", "field larger than field limit"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_skipped(
    line: str, problem: str, acme: Account, trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = "2023-11-16 18:15:50.9951690,396,109\n"
    trace_file.write_text(f"{HEADER}{good}{line}\n2023-11-16 18:15:51.2224670,879,55\n")

    said, problems = run(trace_file, acme, capsys)

    assert said == "2 recorded, 0 known already, 1 skipped"
    assert len(problems) == 1
    assert problems[0].startswith("line 3: ")
    assert problem in problems[0]


def test_a_line_that_the_api_refuses_is_named_too(
    acme: Account, trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace_file.write_text(HEADER + "1969-11-16 18:15:46,1,1\n2023-11-16 18:15:46,1,1\n")

    said, problems = run(trace_file, acme, capsys, "--keep-times")

    assert said == "1 recorded, 0 known already, 1 skipped"
    assert problems == ["line 2: occurred_at is earlier than 1970."]


def test_another_kind_of_file_is_refused_whole(acme: Account, trace_file: Path) -> None:
    trace_file.write_text("a,b\n1,2\n")

    with pytest.raises(CommandError, match="line 1: the header is not TIMESTAMP"):
        call_command("replay_trace", trace_file, account=acme.public_id, **GPT_4O)

    assert not Record.objects.exists()


def test_an_unknown_account_is_said_so(db: None, trace_file: Path) -> None:
    with pytest.raises(CommandError, match=r"There is no account 'nobody@example\.com'"):
        call_command("replay_trace", trace_file, account="nobody@example.com", **GPT_4O)


def test_the_same_trace_in_another_account_is_another_replay(
    acme: Account, charlie: object, trace_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace_file.write_text(HEADER + "2023-11-16 18:15:46,1,1\n")
    other = Account.objects.get(members__user__email="charlie@example.com", members__role=Member.Role.OWNER)

    run(trace_file, acme, capsys)
    said, _ = run(trace_file, other, capsys)

    assert said == "1 recorded, 0 known already, 0 skipped"


def test_the_admin_shows_the_exact_totals_of_the_trace(
    acme: Account, staff: User, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    run(TRACE, acme, capsys)
    client.force_login(staff)

    page = client.get(f"/admin/accounts/account/{acme.pk}/change/").content.decode()

    for figure in ("19,366", "9.6791325 USD", "₹808.21"):
        assert figure in page, figure
