"""What staff and operators see of the background jobs, in the admin and by manage.py jobs and work."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import AuditEntry, User
from usage import schedule
from usage.models import Job
from usage.queue import enqueue

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
NAME = "usage.prune_finished_jobs"
UNKNOWN = "usage.of_a_newer_version"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(START, tick=False):
        yield


@pytest.fixture
def jobs() -> dict[str, Job]:
    """One of each state, and one that no code is known for."""
    ended = {"turn": None, "finished_at": START - timedelta(hours=2)}
    return {
        "waiting": Job.objects.create(name=NAME, run_at=START + timedelta(minutes=3)),
        "unknown": Job.objects.create(name=UNKNOWN),
        "running": Job.objects.create(
            name=NAME, state=Job.State.RUNNING, turn=Job.State.RUNNING, attempts=2,
            claimed_by="host:7:ab", claimed_at=START - timedelta(seconds=40),
        ),
        "done": Job.objects.create(name=NAME, state=Job.State.DONE, **ended),
        "dead": Job.objects.create(
            name=NAME, state=Job.State.DEAD, attempts=8, error="Traceback\n\nValueError: <no luck>\n", **ended
        ),
    }  # fmt: skip


def run(*arguments: str, command: str = "jobs") -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def rows_under(heading: str, text: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = re.search(rf"^{heading}.*\n((?:  .*\n?)*)", text, re.MULTILINE)
    assert section is not None, text
    return [re.split(r"\s{2,}", line.strip()) for line in section[1].splitlines()[1:]]


# ---- The command ----


def test_the_command_shows_what_waits_runs_and_died_and_the_schedule(jobs: dict[str, Job]) -> None:
    schedule.prepare()

    text = run()

    assert "Waiting: 2\n" in text
    assert rows_under("Waiting", text) == [
        [str(jobs["unknown"].pk), UNKNOWN, "2026-03-10 12:00:00 UTC (0 s ago)", "0 (unknown job)"],
        [str(jobs["waiting"].pk), NAME, "2026-03-10 12:03:00 UTC (in 3 min)", "0 of 8"],
    ]
    assert rows_under("Running: 1", text) == [
        [str(jobs["running"].pk), NAME, "host:7:ab", "2026-03-10 11:59:20 UTC (40 s ago)", "2 of 8"]
    ]
    assert rows_under("Dead: 1", text) == [
        [str(jobs["dead"].pk), NAME, "2026-03-10 10:00:00 UTC (2 h ago)", "8 of 8", "ValueError: <no luck>"]
    ]
    assert [NAME, "1:00:00", "2026-03-10 12:17:00 UTC (in 17 min)", "–"] in rows_under("Schedule", text)


def test_the_command_shows_some_of_many(jobs: dict[str, Job]) -> None:
    text = run("--limit", "1")

    assert len(rows_under("Waiting: 2", text)) == 1
    assert "… and 1 more" in text


def test_the_command_shows_an_empty_queue() -> None:
    assert run() == "Waiting: 0\n\nRunning: 0\n\nDead: 0\n\nSchedule\n"


def test_the_command_speaks_json(jobs: dict[str, Job]) -> None:
    schedule.prepare()

    found = json.loads(run("--json"))

    assert {kind: found[kind]["count"] for kind in ("waiting", "running", "dead")} == {
        "waiting": 2,
        "running": 1,
        "dead": 1,
    }
    assert found["dead"]["jobs"] == [
        {
            "id": jobs["dead"].pk,
            "job": NAME,
            "died": "2026-03-10T10:00:00Z",
            "attempts": "8 of 8",
            "error": "ValueError: <no luck>",
        }
    ]
    assert {row["job"]: row["next run"] for row in found["schedule"]}[NAME] == "2026-03-10T12:17:00Z"


@pytest.mark.parametrize("which", ["id", "all"])
def test_the_command_brings_dead_jobs_back(jobs: dict[str, Job], which: str) -> None:
    text = run("--retry", str(jobs["dead"].pk) if which == "id" else "all")

    assert text.startswith("Waiting again: 1\n")
    jobs["dead"].refresh_from_db()
    assert (jobs["dead"].state, jobs["dead"].attempts, jobs["dead"].run_at) == (Job.State.QUEUED, 0, START)


@pytest.mark.parametrize("which", ["0", "x", "-1", "1" * 30, "waiting"])
def test_the_command_refuses_what_is_no_dead_job(jobs: dict[str, Job], which: str) -> None:
    with pytest.raises(CommandError, match="no dead job"):
        run("--retry", str(jobs["waiting"].pk) if which == "waiting" else which)

    assert Job.objects.filter(state=Job.State.DEAD).count() == 1


def test_work_drains_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.management.commands.work.signal.signal", lambda *_: None)
    enqueue(NAME)

    assert run("--drain", command="work") == "Steps run: 1\n"
    assert run("--once", command="work") == "Steps run: 0\n"
    assert Job.objects.get().state == Job.State.DONE


# ---- The admin ----


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def page_of(job: Job, page: str = "change") -> str:
    return f"/admin/usage/job/{job.pk}/{page}/"


def test_dead_jobs_have_a_red_badge_and_their_error_beside_it(jobs: dict[str, Job], admin: Client) -> None:
    page = admin.get("/admin/usage/job/", {"state__exact": Job.State.DEAD}).content.decode()

    assert re.findall(r'<span class="tg-badge tg-(\w+)">(\w+)</span>', page) == [("bad", "died")]
    assert "ValueError: &lt;no luck&gt;" in page
    assert page_of(jobs["waiting"]) not in page


def test_the_sidebar_says_how_many_died(jobs: dict[str, Job], admin: Client) -> None:
    badge = r'<a href="/admin/usage/job/"[^>]*>(?:(?!</a>).)*bg-red-100[^>]*>\s*1\s*</span>'
    assert re.search(badge, admin.get("/admin/").content.decode(), re.DOTALL)

    jobs["dead"].delete()

    assert not re.search(badge, admin.get("/admin/").content.decode(), re.DOTALL)


def test_the_whole_error_is_on_the_jobs_page(jobs: dict[str, Job], admin: Client) -> None:
    page = admin.get(page_of(jobs["dead"])).content.decode()

    assert "Traceback\n\nValueError: &lt;no luck&gt;" in page
    assert page_of(jobs["dead"], "retry") in page
    assert page_of(jobs["waiting"], "retry") not in admin.get(page_of(jobs["waiting"])).content.decode()


def test_a_dead_job_is_brought_back_and_that_is_written_down(
    jobs: dict[str, Job], admin: Client, staff: User
) -> None:
    assert "ValueError: &lt;no luck&gt;" in admin.get(page_of(jobs["dead"], "retry")).content.decode()
    jobs["dead"].refresh_from_db()
    assert jobs["dead"].state == Job.State.DEAD  # asked, not done

    answer = admin.post(page_of(jobs["dead"], "retry"), {"reason": "the mail server is back"})

    assert answer.status_code == 302
    jobs["dead"].refresh_from_db()
    assert jobs["dead"].state == Job.State.QUEUED
    entry = AuditEntry.objects.get(action="job.retried")
    assert (entry.actor, entry.reason) == (staff.email, "the mail server is back")
    assert str(jobs["dead"].pk) in entry.subject


@pytest.mark.parametrize("kind", ["waiting", "running", "done"])
def test_only_a_dead_job_is_brought_back(jobs: dict[str, Job], admin: Client, kind: str) -> None:
    assert admin.post(page_of(jobs[kind], "retry")).status_code == 403
    before = jobs[kind].state
    jobs[kind].refresh_from_db()
    assert jobs[kind].state == before


def test_whoever_may_only_look_brings_nothing_back(jobs: dict[str, Job], client: Client) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(clerk)

    assert client.get(page_of(jobs["dead"])).status_code == 200
    assert client.post(page_of(jobs["dead"], "retry")).status_code == 403
    jobs["dead"].refresh_from_db()
    assert jobs["dead"].state == Job.State.DEAD
