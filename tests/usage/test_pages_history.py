"""The History page: what it lists, its filters and presets, its pages, and what it says of wrong input."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import time_machine
from django.test import Client

from accounts import keys
from accounts.models import Account, Key, User
from tests.conftest import Api
from tests.usage.pages import link, opened, words
from tests.usage.test_refusals_shown_in_history import refused

NOW = "2026-11-20T10:00:00Z"
URL = "/settings/usage/history/"
MATCHING = {
    "operation": "text_analysis",
    "provider": "google",
    "model": "gemini-2.0-flash",
    "variant": "hd",
    "status": "error",
    "campaign": "spring & <summer>",
    "session": "chat-9 #1?&=",
    "reference": "générations/42 ",
    "request_id": "req-1+1",
    "user": "bob@example.com",
}


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def alices(client: Client, alice: User, acme: Account) -> Client:
    """Alice is signed in and has switched to Acme."""
    client.force_login(alice)
    client.post("/accounts/switch/", {"account": acme.public_id})
    return client


def shown(html: str) -> list[str]:
    """The ids of the records on a page, in its order."""
    return re.findall(r'"sr"> (rec_\d+)</span>', html)


def listed(api: Api, **query: Any) -> list[str]:
    return [record["id"] for record in api.get("usage/history/", **query).json()["results"]]


def on_page(alices: Client, **query: str) -> list[str]:
    return shown(opened(alices, f"{URL}?{urlencode(query)}"))


def errors(html: str) -> dict[str, str]:
    """Field → what is said to be wrong with it."""
    found = re.findall(r'id="filter-(\w+)-error"><li>(.*?)</li>', html)
    return {name: words(text) for name, text in found}


@pytest.fixture
def both(acme_api: Api) -> tuple[str, str]:
    """A record that has everything to be found by, and another one."""
    matching = acme_api.record(event_id="matching", **MATCHING).json()["id"]
    return matching, acme_api.record(event_id="other", operation="api_call", reference="other").json()["id"]


@pytest.mark.parametrize(("name", "value"), MATCHING.items())
def test_each_filter_lists_what_the_api_lists(
    alices: Client, acme_api: Api, both: tuple[str, str], name: str, value: str
) -> None:
    assert on_page(alices, **{name: value}) == listed(acme_api, **{name: value}) == [both[0]]


def test_all_filters_together_do_too(alices: Client, acme_api: Api, both: tuple[str, str]) -> None:
    acme_api.record(event_id="nearly", **{**MATCHING, "session": "chat-8"})

    assert on_page(alices, **MATCHING) == [both[0]]


def test_a_key_is_chosen_by_its_visible_prefix_also_that_of_the_back_end(
    alices: Client, acme: Account, acme_api: Api, service_api: Api
) -> None:
    own = acme_api.record(operation="api_call").json()
    other = service_api.record(account=acme.public_id, operation="api_call").json()

    html = opened(alices, f"{URL}?key={other['key']}")

    assert shown(html) == [other["id"]]
    assert on_page(alices, key=own["key"]) == [own["id"]]
    assert "service key" in words(html)
    assert "back end" not in words(html)  # what the team calls its key


def test_refusals_are_listed_with_their_attempts_and_filtered_as_in_the_api(
    alices: Client, acme: Account, acme_api: Api
) -> None:
    key = Key.objects.get(account=acme)
    refused(acme, datetime(2026, 11, 20, 9, tzinfo=UTC), key_id=key.pk, attempts=3)
    record = acme_api.record(operation="text_analysis", status="error").json()["id"]

    html = opened(alices, URL)
    assert "API call" in words(html)
    assert "rate limited 3 attempts" in words(html)
    assert shown(html) == [record]  # a refusal has no page of its own
    only = words(opened(alices, f"{URL}?status=rate_limited&operation=api_call&key={key.prefix}"))
    assert "3 attempts" in only
    assert "No record matches." in words(opened(alices, f"{URL}?operation=api_call&status=error"))


def test_a_row_reads_as_its_record(alices: Client, acme: Account, acme_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    acme_api.record(
        **{**MATCHING, "status": "success", "variant": ""}, latency_ms=1812, occurred_at=NOW,
        quantities={"input_images": 1, "output_tokens": 500},
    )  # fmt: skip

    html = opened(alices, URL)

    assert "Text analysis rec_" in words(html)
    assert (
        "gemini-2.0-flash google bob@example.com générations/42 in chat-9 #1?&= "
        "$0.10 ₹8.37 Today, 15:30 success 1.81 s".replace("Today", "today")
        in words(html)
    )
    assert 'title="Exactly 0.1002\N{NO-BREAK SPACE}USD"' in html
    assert 'title="Exactly 8.3667\N{NO-BREAK SPACE}INR"' in html


def test_what_is_unknown_estimated_reversed_or_without_a_rate_says_so(
    alices: Client, acme: Account, acme_api: Api, service_api: Api
) -> None:
    acme_api.record(operation="dream", quantities={"sheep": 1})
    acme_api.record(operation="text_analysis", model="gemini-2.0-flash", provider="google", characters=2003)
    mistake = acme_api.record(operation="api_call").json()["id"]
    service_api.post(f"usage/{mistake}/reverse/", {"reason": "a test"})
    Account.objects.filter(pk=acme.pk).update(currency="CHF")

    page = words(opened(alices, URL))

    assert "no price yet" in page
    assert "estimated" in page
    assert "reversal" in page
    assert "−$0.01" in page
    assert "no CHF rate" in page


def test_pages_go_both_ways_and_keep_the_filters(alices: Client, acme_api: Api) -> None:
    events = [{"operation": "api_call", "session": "a & b", "occurred_at": NOW}] * 7
    acme_api.post("usage/", [*events, {"operation": "api_call", "session": "other"}])
    expected = listed(acme_api, session="a & b")

    path, seen, paths = f"{URL}?session={quote('a & b')}&page_size=3", [], []
    for _ in range(3):
        html = opened(alices, path)
        seen.append(shown(html))
        paths.append(path)
        path = link(html, "Older") if "Older" in words(html) else path

    assert [len(ids) for ids in seen] == [3, 3, 1]
    assert [pk for ids in seen for pk in ids] == expected
    back = link(opened(alices, paths[2]), "Newer")
    assert shown(opened(alices, back)) == seen[1]
    assert shown(opened(alices, link(opened(alices, back), "Newer"))) == seen[0]
    assert "Newer" not in words(opened(alices, paths[0]))


def test_fifty_rows_a_page_unless_fewer_are_chosen(alices: Client, acme_api: Api) -> None:
    acme_api.post("usage/", [{"operation": "api_call"}] * 60)

    assert len(on_page(alices)) == 50
    assert len(on_page(alices, page_size="25")) == 25
    for size in ("51", "0", "500", "ten"):
        html = opened(alices, f"{URL}?page_size={size}")
        assert (shown(html), errors(html)) == ([], {"page_size": "From 1 to 50 rows a page."})


PRESETS = {
    "Today": ("2026-11-20", "2026-11-21"),
    "Yesterday": ("2026-11-19", "2026-11-20"),
    "Last 7 days": ("2026-11-14", "2026-11-21"),
    "Last 30 days": ("2026-10-22", "2026-11-21"),
    "This month": ("2026-11-01", "2026-12-01"),
    "Last month": ("2026-10-01", "2026-11-01"),
    "All": None,
}


@pytest.mark.parametrize("label", PRESETS)
def test_a_preset_is_a_range_of_the_accounts_own_days_beside_the_other_filters(
    alices: Client, acme_api: Api, label: str
) -> None:
    acme_api.record(operation="api_call")
    html = opened(alices, f"{URL}?status=success&from=2020-01-01&cursor=&page_size=10")

    query = parse_qs(urlsplit(link(html, label)).query)

    expected = PRESETS[label]
    days = {} if expected is None else {"from": [expected[0]], "to": [expected[1]]}
    assert query == {"status": ["success"], "page_size": ["10"], **days}
    chosen = opened(alices, link(html, label))
    assert re.findall(r'aria-current="true">([^<]*)</a></li>', chosen)[-1] == label


def test_today_is_the_accounts_own(alices: Client, acme: Account, acme_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    acme_api.record(operation="api_call")
    with time_machine.travel("2026-11-20T18:30:00Z", tick=False):  # the 21st begins in Kolkata
        assert "from=2026-11-21&to=2026-11-22" in link(opened(alices, URL), "Today")


@pytest.fixture
def three_days(acme: Account, service_api: Api) -> Callable[[str], str]:
    """The id of the record of 18:29 UTC and 18:30 UTC around the 19th in Kolkata, by its event id."""
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    times = {"19th": "2026-11-19T18:29:59Z", "20th": "2026-11-19T18:30:00Z", "18th": "2026-11-18T10:00:00Z"}
    made = {
        name: service_api.record(
            account=acme.public_id, event_id=name, operation="api_call", occurred_at=at
        ).json()["id"]
        for name, at in times.items()
    }
    return made.__getitem__


def test_the_last_day_of_the_form_is_included_and_becomes_the_apis_half_open_end(
    alices: Client, three_days: Callable[[str], str]
) -> None:
    answer = alices.get(URL, {"from": "2026-11-19", "through": "2026-11-19", "operation": "", "session": ""})

    assert answer.status_code == 302
    assert answer["Location"] == f"{URL}?from=2026-11-19&to=2026-11-20"
    html = opened(alices, answer["Location"])
    assert shown(html) == [three_days("19th")]
    assert re.search(r'<input type="date" name="through" id="filter-through" value="2026-11-19"', html)
    assert "19 Nov 2026 Remove" not in words(html)
    assert link(html, "Remove filter 19 Nov 2026") == URL


def test_an_instant_works_as_in_the_api_and_stays_in_its_field(
    alices: Client, three_days: Callable[[str], str]
) -> None:
    html = opened(alices, f"{URL}?from=2026-11-19T18:00:00Z&to=2026-11-19T18:30:00Z")

    assert shown(html) == [three_days("19th")]
    assert re.search(r'type="text" name="to" id="filter-to" value="2026-11-19T18:30:00Z"', html)
    chip = "since 19 Nov 2026, 23:30:00 (UTC+05:30), before 20 Nov 2026, 00:00:00 (UTC+05:30)"
    assert link(html, f"Remove filter {chip}") == URL


@pytest.mark.parametrize(
    ("query", "chip"),
    [
        ({"from": "2026-11-01"}, "since 1 Nov 2026"),
        ({"to": "2026-11-20"}, "until 19 Nov 2026"),
        ({"from": "2026-11-01", "to": "2026-11-20"}, "1 Nov 2026 – 19 Nov 2026"),
        ({"from": "2026-11-01", "to": "2026-11-01"}, "no day, from and to 1 Nov 2026"),
        ({"from": "0001-01-01", "to": "9999-12-31"}, "1 Jan 1900 – 31 Dec 8999"),
        ({"operation": "text_analysis"}, "Operation: Text analysis"),
        ({"user": " BOB@example.com "}, "Member: Bob (bob@example.com)"),
        ({"campaign": MATCHING["campaign"]}, "Campaign: spring & <summer>"),
        ({"status": "rate_limited"}, "Status: rate limited"),
    ],
)
def test_a_chip_says_in_words_what_is_filtered_and_takes_it_away(
    alices: Client, both: tuple[str, str], query: dict[str, str], chip: str
) -> None:
    html = opened(alices, f"{URL}?{urlencode({**query, 'provider': 'google', 'page_size': '10'})}")

    assert parse_qs(urlsplit(link(html, f"Remove filter {chip}")).query) == {
        "provider": ["google"],
        "page_size": ["10"],
    }
    assert link(html, "Clear all") == URL


def test_an_address_is_cleaned_of_what_says_nothing(alices: Client, both: tuple[str, str]) -> None:
    answer = alices.get(f"{URL}?operation=&status=error&page_size=50&utm_source=mail&through=")

    assert (answer.status_code, answer["Location"]) == (302, f"{URL}?status=error")


WRONG = {
    "from": ("2026-02-30", "This is not a day; one is written 2026-11-20."),
    "to": ("soon", "This is not a day; one is written 2026-11-20."),
    "operation": ("nope", "This account has no operation “nope”."),
    "provider": ("<b>", "This account has no provider “<b>”."),
    "model": ("x" * 200, "At most 128 characters."),
    "status": ("ok", "This account has no status “ok”."),
    "campaign": ("winter", "This account has no campaign “winter”."),
    "user": ("charlie@example.com", "This account has no member “charlie@example.com”."),
    "key": ("tg_live_nobody", "This account has no key “tg_live_nobody”."),
    "session": ("s" * 201, "At most 200 characters."),
    "reference": ("r" * 3000, "At most 200 characters."),
    "request_id": ("r" * 201, "At most 200 characters."),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_at_its_field_and_nothing_is_listed(
    alices: Client, both: tuple[str, str], charlie: User, name: str
) -> None:
    value, message = WRONG[name]

    html = opened(alices, f"{URL}?{urlencode({name: value})}")

    assert errors(html) == {name: message}
    assert re.search(
        rf'id="filter-{name}"[^>]* aria-invalid="true" aria-describedby="filter-{name}-error"', html
    )
    assert shown(html) == []
    assert '<details class="card filters" open>' in html
    assert "Export" not in words(html)


def test_all_that_is_wrong_is_told_at_once(alices: Client, both: tuple[str, str]) -> None:
    html = opened(alices, f"{URL}?{urlencode({name: value for name, (value, _) in WRONG.items()})}")

    assert set(errors(html)) == set(WRONG)


@pytest.mark.parametrize("through", ["2026-11-31", "tomorrow", "2026-11-18"])
def test_a_last_day_that_cannot_be_is_told_at_its_field(
    alices: Client, both: tuple[str, str], through: str
) -> None:
    html = opened(alices, f"{URL}?from=2026-11-20&through={through}")

    (message,) = errors(html).values()
    assert message in ("This is not a day; one is written 2026-11-20.", "This is earlier than the first day.")
    assert f'name="through" id="filter-through" value="{through}"' in html


def test_an_empty_range_lists_nothing_and_is_not_wrong(alices: Client, both: tuple[str, str]) -> None:
    html = opened(alices, f"{URL}?from=2026-11-20&to=2026-11-20")

    assert (errors(html), shown(html)) == ({}, [])
    assert "No record matches. Show all records ." in words(html)


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é"])
def test_a_page_that_no_link_named_leads_back_to_the_first(
    alices: Client, both: tuple[str, str], cursor: str
) -> None:
    html = opened(alices, f"{URL}?{urlencode({'cursor': cursor, 'status': 'error'})}")

    assert "This address names a page that is not there." in words(html)
    assert link(html, "Go to the newest records") == f"{URL}?status=error"


STRANGE = ("\x00", "\ud800", "%", "'\"><script>", "💥" * 10, "0", "-1", "2026-11-20T", "9" * 30, " ")


@pytest.mark.parametrize("name", [*MATCHING, "from", "to", "through", "key", "page_size", "cursor"])
def test_nothing_that_an_address_can_hold_is_an_error_of_ours(
    alices: Client, both: tuple[str, str], name: str
) -> None:
    for value in STRANGE:
        answer = alices.get(f"{URL}?{name}={quote(value, errors='surrogatepass')}", follow=True)

        assert (value, answer.status_code) == (value, 200)
        assert '"><script>' not in answer.content.decode()


def test_other_peoples_names_are_no_such_choice_and_look_like_ones_that_nobody_has(
    alices: Client, acme_api: Api, charlie: User, charlie_api: Api
) -> None:
    acme_api.record(operation="api_call")
    theirs = charlie_api.record(
        operation="secret_operation", provider="hidden-provider", model="unseen-model", campaign="autumn",
        session="chat-1", reference="gen-1", request_id="req-1", user=charlie.email,
    ).json()  # fmt: skip

    plain = opened(alices, URL)
    for name in ("operation", "provider", "model", "campaign", "user", "key"):
        html = opened(alices, f"{URL}?{urlencode({name: theirs[name]})}")
        nobody = opened(alices, f"{URL}?{name}=nobody")
        assert errors(html)[name] == errors(nobody)[name].replace("nobody", theirs[name])
        assert theirs[name] not in plain
    for name in ("session", "reference", "request_id"):
        html = opened(alices, f"{URL}?{urlencode({name: theirs[name]})}")
        assert (shown(html), errors(html)) == ([], {})


def test_names_from_outside_are_only_text(alices: Client, acme_api: Api, acme: Account) -> None:
    name = '"><img src=x onerror=alert(1)>'
    acme_api.record(operation="api_call", model=name, campaign=name, session=name, reference=name)
    keys.make_key(acme, name=name)

    html = opened(alices, f"{URL}?{urlencode({'model': name, 'campaign': name, 'session': name})}")

    assert "<img" not in html
    assert len(shown(html)) == 1


def test_more_choices_than_can_be_read_are_typed_instead(alices: Client, acme_api: Api) -> None:
    events = [
        {"operation": "api_call", "model": f"model-{n:03}", "campaign": f"c-{n:03}"} for n in range(201)
    ]
    acme_api.post("usage/", events)

    html = opened(alices, f"{URL}?model=model-007&campaign=c-007")

    assert re.search(r'<input type="text" name="model" id="filter-model" value="model-007"', html)
    assert re.search(r'<input type="text" name="campaign" id="filter-campaign" value="c-007"', html)
    assert len(shown(html)) == 1
    html = opened(alices, f"{URL}?model=never&campaign=never")
    assert errors(html) == {"campaign": "This account has no campaign “never”."}
    assert shown(opened(alices, f"{URL}?model=never")) == []


def test_the_lists_hold_what_the_account_has(
    alices: Client, acme: Account, acme_api: Api, both: tuple[str, str]
) -> None:
    html = opened(alices, URL)

    def choices(name: str) -> list[str]:
        (inside,) = re.findall(rf'<select name="{name}".*?</select>', html, re.DOTALL)
        return [words(option) for option in re.findall(r"<option[^>]*>(.*?)</option>", inside)]

    assert choices("operation") == ["Any", "API call", "Text analysis"]
    assert choices("provider") == ["Any", "google"]
    assert choices("model") == ["Any", "gemini-2.0-flash"]
    assert choices("status") == ["Any", "success", "error", "rate limited"]
    assert choices("campaign") == ["Any", "spring & <summer>"]
    assert choices("user") == ["Any", "Alice (alice@example.com)", "Bob (bob@example.com)"]
    assert choices("key") == ["Any", f"{Key.objects.get(account=acme).prefix}… app"]


def test_the_exports_ask_the_api_for_exactly_what_is_filtered(
    alices: Client, acme: Account, both: tuple[str, str]
) -> None:
    query = {**MATCHING, "from": "2026-11-01", "to": "2026-11-21"}
    html = opened(alices, f"{URL}?{urlencode({**query, 'page_size': '10'})}")

    for name in ("csv", "xlsx", "jsonl"):
        parts = urlsplit(link(html, name.upper()))
        assert parts.path == "/api/v1/usage/export/"
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        assert asked == {**query, "format": name, "account": acme.public_id}
    answer: Any = alices.get(link(html, "JSONL"))
    assert b"".join(answer.streaming_content).count(b"\n") == 1


def test_an_account_that_the_address_names_stays_named(
    alices: Client, alice: User, acme: Account, both: tuple[str, str]
) -> None:
    alices.post("/accounts/switch/", {"account": alice.personal_account.public_id})
    html = opened(alices, f"{URL}?account={acme.public_id}&status=error")

    assert shown(html) == [both[0]]
    for name in ("Today", "Remove filter Status: error", "Text analysis " + both[0], "Clear"):
        assert f"account={acme.public_id}" in link(html, name)
    assert f'<input type="hidden" name="account" value="{acme.public_id}">' in html


def test_a_member_sees_what_the_api_shows_a_member(
    client: Client, bob: User, acme: Account, both: tuple[str, str]
) -> None:
    client.force_login(bob)
    html = opened(client, f"{URL}?account={acme.public_id}")
    api = client.get("/api/v1/usage/history/", {"account": acme.public_id}).json()

    assert shown(html) == [record["id"] for record in api["results"]]


def test_for_a_stranger_the_account_does_not_exist(client: Client, charlie: User, acme: Account) -> None:
    client.force_login(charlie)

    assert client.get(f"{URL}?account={acme.public_id}").status_code == 404
    assert Client().get(URL).status_code == 302


def test_an_account_without_records_is_told_how_they_come(alices: Client) -> None:
    page = words(opened(alices, URL))

    assert "Nothing was recorded for this account yet. Record the first call" in page
    assert "Filter" not in page
    assert "No record matches." in words(opened(alices, f"{URL}?status=error"))


def test_the_page_has_no_inline_style_or_script(alices: Client, both: tuple[str, str]) -> None:
    answer = alices.get(URL)
    html = answer.content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]
    assert "no-store" in answer.headers["Cache-Control"]
