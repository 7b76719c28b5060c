"""The net billing report by mail: what it says, as HTML, text, chart and file; and its pages in the admin."""

import csv
import io
import re
import struct
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from email import message_from_bytes
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from accounts.models import Account, AuditEntry, User
from billing import plans, report_chart, report_figures, report_mail, report_words, reports
from billing.models import Plan, ReportSending, ReportSubscription
from billing.report_ranges import Range, newest
from tests.billing.reporting import MONDAY, WEDNESDAY, clock, cost, html_of, may_see_net, subscribed
from tests.conftest import Api
from usage import formatting

LIST = "/admin/billing/reportsubscription/"
WEEK = Range(date(2026, 11, 16), date(2026, 11, 22))
pytestmark = pytest.mark.django_db


@pytest.fixture
def used(acme: Account, charlie: User, service_api: Api) -> Iterator[Any]:
    """Two weeks of two accounts, looked back at from Monday."""
    with clock(WEDNESDAY - timedelta(days=7)) as traveller:
        cost(service_api, acme, "10")
        traveller.move_to(WEDNESDAY)
        Account.objects.filter(pk=charlie.personal_account.pk).update(name="=1+1")
        cost(service_api, acme, "12.5", model="gpt-x", operation="chat")
        cost(
            service_api,
            charlie.personal_account,
            "0.000012",
            quantities={"input_tokens": 1500},
            operation="chat",
        )
        traveller.move_to(MONDAY)
        yield traveller


@pytest.fixture
def reader(bob: User) -> User:
    return may_see_net(bob)


def report_for(user: User, filters: str = "") -> report_figures.Report:
    return report_figures.gather(subscribed(user, filters=filters), WEEK)


def figures(told: report_figures.Report) -> dict[str, tuple[str, str]]:
    return {figure.name: (figure.value, figure.change) for figure in report_words.of(told).figures}


def test_the_summary_stands_beside_the_range_before(used: Any, reader: User) -> None:
    said = figures(report_for(reader))
    assert said["Cost, USD"] == ("$12.50", "up 25 % from $10.00")
    assert said["Operations"] == ("2", "up 100 % from 1")
    assert said["Active accounts"] == ("2", "up 100 % from 1")
    assert said["Tokens"] == ("1,500", "up from 0")
    assert said["Images"] == ("0", "the same")
    assert said["Cost, INR"][0].startswith("₹1,043.75")


def test_a_change_is_said_in_words() -> None:
    def said(now: int | None, before: int | None) -> str:
        def of(value: int | None) -> Decimal | None:
            return None if value is None else Decimal(value)

        return report_words.change(of(now), of(before), formatting.quantity)

    assert said(50, 80) == "down 37.5 % from 80"
    assert said(5, -3) == "up from −3"
    assert said(0, 0) == "the same"
    assert (said(None, 3), said(3, None)) == ("", "")


def test_its_totals_are_those_of_its_days_accounts_and_models(used: Any, reader: User) -> None:
    told = report_for(reader)
    whole = Decimal("12.500012")
    assert sum(cost for _, cost in told.days) == whole
    assert len(told.days) == 7
    assert Decimal(told.whole.sums.cost).scaleb(-10) == whole
    assert sum(row.sums.cost for row in told.accounts) == sum(row.sums.cost for row in told.models)
    rows = list(csv.DictReader(io.StringIO(told.csv.decode())))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == whole
    assert len(rows) == told.whole.users > len(told.accounts)  # idle accounts too


def test_the_file_is_safe_to_open(used: Any, reader: User) -> None:
    rows = csv.DictReader(io.StringIO(report_for(reader).csv.decode()))
    assert "'=1+1" in {row["name"] for row in rows}


def test_filters_hold_in_every_part(used: Any, acme: Account, reader: User) -> None:
    plans.change_plan(acme, Plan.objects.get(code="pro"), actor="staff@example.com")
    told = report_for(reader, "plan=pro")
    assert [row.email for row in told.accounts] == ["alice@example.com"]
    assert told.csv.decode().count("\n") == 2
    only = report_for(reader, "model=gpt-x")
    assert [row.model for row in only.models] == ["gpt-x"]
    assert only.whole.charge is None
    assert figures(only)["Charge"] == ("not known", "")
    assert "Only model gpt-x." in " ".join(str(report_mail.message(only, "a@example.com").body).split())


def test_the_mail_has_text_html_a_chart_inside_and_the_file(used: Any, reader: User) -> None:
    message = report_mail.message(report_for(reader), "bob@example.com")
    parsed = message_from_bytes(message.message().as_bytes())
    kinds = [part.get_content_type() for part in parsed.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "image/png", "text/csv"]
    (image,) = (part for part in parsed.walk() if part.get_content_type() == "image/png")
    assert image["Content-ID"] == "<chart>"
    assert 'src="cid:chart"' in html_of(message)
    (table,) = (part for part in parsed.walk() if part.get_content_type() == "text/csv")
    assert table.get_filename() == "net-billing-2026-11-16-to-2026-11-22.csv"


def test_nothing_is_loaded_from_elsewhere_and_what_the_chart_shows_stands_in_words(
    used: Any, reader: User, settings: Any
) -> None:
    settings.BASE_URL = "https://toll.example.com"
    html = html_of(report_mail.message(report_for(reader), "bob@example.com"))
    loaded = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^")\s>]+)', html)
    outside = [url for url in loaded if not url.startswith(("https://toll.example.com/", "cid:"))]
    assert outside == []
    assert "The most was $12.50 on 18 Nov 2026." in html
    assert html.count("<td>Wed") == 1
    assert "?from=2026-11-16&amp;to=2026-11-23" in html


def test_the_link_leads_to_the_page_with_the_same_days_and_figures(
    used: Any, reader: User, staff: User, settings: Any
) -> None:
    settings.BASE_URL = "https://toll.example.com"
    url = report_for(reader, "model=gpt-x").url.removeprefix("https://toll.example.com")
    assert resolve(url.partition("?")[0]).view_name == "net_billing"
    answer = signed_in(staff).get(url)
    assert answer.status_code == 200
    query = answer.wsgi_request.GET
    assert (query["from"], query["to"], query["model"]) == ("2026-11-16", "2026-11-23", "gpt-x")
    assert "$12.50" in answer.content.decode()


def test_the_text_has_the_same_figures(used: Any, reader: User) -> None:
    text = str(report_mail.message(report_for(reader), "bob@example.com").body)
    assert "Cost, USD: $12.50 (up 25 % from $10.00)" in text
    assert "Wed 18 Nov: $12.50" in text
    assert "alice@example.com: $12.50 (₹1,043.75)" in text
    assert "&amp;" not in text


def test_without_any_usage_it_says_so(reader: User, db: None) -> None:
    with clock(MONDAY):
        message = report_mail.message(report_for(reader), "bob@example.com")
    assert "No account used anything in these days." in html_of(message)
    assert "nothing in any of these days" in html_of(message)


def test_names_cannot_break_out_of_the_html(used: Any, acme: Account, reader: User, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email='"<script>"@example.com')
    html = html_of(report_mail.message(report_for(reader), "bob@example.com"))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_chart_is_a_picture_with_a_bar_for_each_day() -> None:
    days = [(date(2026, 11, 1) + timedelta(days=n), Decimal(n)) for n in range(30)]
    drawn = report_chart.drawing(days)
    assert drawn["ticks"] == ["$50.00", "$25.00"]
    heights: Any = drawn["heights"]
    assert (len(heights), heights[0], heights[29]) == (30, "0.0000", "0.5800")
    picture = report_chart.png(days)
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24])[0] == 688
    assert report_chart.png([(day, Decimal(0)) for day, _ in days]) != picture


def test_a_large_file_is_zipped(used: Any, reader: User, monkeypatch: pytest.MonkeyPatch) -> None:
    told = report_for(reader)
    monkeypatch.setattr(report_mail, "PLAIN_AT_MOST", 10)
    name, content, kind = report_mail.attachment(told)
    assert (name[-8:], kind) == (".csv.zip", "application/zip")
    assert zipfile.ZipFile(io.BytesIO(content)).read(name[:-4]) == told.csv


def test_at_most_so_many_accounts_are_listed_and_the_rest_is_counted(
    used: Any, reader: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_figures, "ACCOUNTS_AT_MOST", 1)
    told = report_for(reader)
    assert (len(told.accounts), told.more_accounts) == (1, 1)
    assert "And 1 more with usage." in str(report_mail.message(told, "bob@example.com").body)


# In the admin


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_staff_add_one_for_themselves_with_the_filters_of_the_page(used: Any, reader: User) -> None:
    client = signed_in(reader)
    page = client.get(LIST + "add/?filters=from%3D2026-01-01%26plan%3Dpro%26sort%3Demail").content.decode()
    assert 'value="plan=pro"' in page
    answer = client.post(
        LIST + "add/", {"frequency": "monthly", "filters": "?plan=pro&from=2026-01-01", "is_active": "on"}
    )
    assert answer.status_code == 302, answer.content.decode()
    row = ReportSubscription.objects.get()
    assert (row.user, row.frequency, row.filters) == (reader, "monthly", "plan=pro")
    assert AuditEntry.objects.filter(action="report_subscription.added", actor=reader.email).count() == 1


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ("colour=red", "There is no filter &#x27;colour&#x27;"),
        ("plan=gold", "There is no plan &#x27;gold&#x27;"),
        ("status=fine", "status"),
        ("pro", "There is no filter &#x27;pro&#x27;"),
    ],
)
def test_a_wrong_filter_is_refused_by_name(used: Any, reader: User, filters: str, said: str) -> None:
    answer = signed_in(reader).post(
        LIST + "add/", {"frequency": "weekly", "filters": filters, "is_active": "on"}
    )
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert ReportSubscription.objects.count() == 0


def test_staff_see_their_own_and_superusers_all(used: Any, reader: User, staff: User, alice: User) -> None:
    own, other = subscribed(reader), subscribed(may_see_net(alice))
    client = signed_in(reader)
    page = client.get(LIST).content.decode()
    assert f"{LIST}{own.pk}/change/" in page
    assert f"{LIST}{other.pk}/change/" not in page
    for act in ("change", "delete", "preview", "send-now"):
        assert client.get(f"{LIST}{other.pk}/{act}/").status_code in (302, 404)
    assert client.post(f"{LIST}{other.pk}/send-now/").status_code == 404
    everything = signed_in(staff).get(LIST).content.decode()
    assert f"{LIST}{own.pk}/change/" in everything
    assert f"{LIST}{other.pk}/change/" in everything


def test_who_may_not_see_net_billing_gets_no_page_of_it(used: Any, reader: User) -> None:
    row = subscribed(reader)
    reader.user_permissions.clear()
    client = signed_in(User.objects.get(pk=reader.pk))
    for page in ("", "add/", f"{row.pk}/change/", f"{row.pk}/preview/", f"{row.pk}/send-now/"):
        assert client.get(LIST + page).status_code == 403


def test_the_preview_is_the_mail_in_the_browser(used: Any, reader: User) -> None:
    page = signed_in(reader).get(f"{LIST}{subscribed(reader).pk}/preview/").content.decode()
    assert "Net billing, 16 Nov to 22 Nov 2026" in page
    assert 'src="data:image/png;base64,' in page
    assert "$12.50" in page


def test_a_filter_that_names_a_plan_that_is_gone_is_said(used: Any, reader: User) -> None:
    row = subscribed(reader, filters="plan=gone")
    answer = signed_in(reader).get(f"{LIST}{row.pk}/preview/", follow=True)
    assert "A filter cannot be used any more: There is no plan" in answer.content.decode()


def test_sent_at_once_from_its_page_and_written_down(used: Any, reader: User) -> None:
    row = subscribed(reader)
    client = signed_in(reader)
    assert (
        "Send net billing of 16 Nov to 22 Nov 2026"
        in client.get(f"{LIST}{row.pk}/send-now/").content.decode()
    )
    assert client.post(f"{LIST}{row.pk}/send-now/", {"reason": ""}).status_code == 302
    assert client.post(f"{LIST}{row.pk}/send-now/", {"reason": ""}).status_code == 302
    assert ReportSending.objects.get().asked == "2026-11-23T13:00"
    assert AuditEntry.objects.filter(action="report_subscription.sent").count() == 1


def test_what_failed_is_shown_and_sent_again(used: Any, reader: User, alice: User) -> None:
    row = subscribed(reader)
    reports.decide(MONDAY)
    ReportSending.objects.update(state=2, attempts=12, error="The mail server did not take it: OSError.")
    sending = ReportSending.objects.get()
    client = signed_in(reader)
    page = client.get("/admin/billing/reportsending/").content.decode()
    assert "The mail server did not take it: OSError." in page
    assert client.get(f"{LIST}{row.pk}/change/").status_code == 200
    retry = f"/admin/billing/reportsending/{sending.pk}/retry/"
    assert signed_in(may_see_net(alice)).post(retry, {"reason": ""}).status_code == 404
    assert client.post(retry, {"reason": ""}).status_code == 302
    assert ReportSending.objects.get().state == 0
    assert AuditEntry.objects.filter(action="report_sending.retried").count() == 1


def test_deleting_a_member_of_staff_takes_their_subscriptions_along(
    used: Any, reader: User, staff: User
) -> None:
    subscribed(reader)
    reports.decide(MONDAY)
    reader.memberships.all().delete()
    Account.objects.filter(person=reader).update(person=None)
    assert reader.delete()[0]
    assert (ReportSubscription.objects.count(), ReportSending.objects.count()) == (0, 0)


def test_deleted_by_its_owner_with_what_was_sent(used: Any, reader: User) -> None:
    row = subscribed(reader)
    reports.decide(MONDAY)
    answer = signed_in(reader).post(f"{LIST}{row.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert (ReportSubscription.objects.count(), ReportSending.objects.count()) == (0, 0)
    assert AuditEntry.objects.filter(action="report_subscription.deleted").count() == 1


def test_a_long_list_takes_few_statements(used: Any, staff: User) -> None:
    for _ in range(40):
        subscribed(staff)
    reports.decide(MONDAY)
    client = signed_in(staff)
    client.get(LIST)
    for page in (LIST, "/admin/billing/reportsending/"):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page).status_code == 200
        assert len(queries) <= 15
    assert newest("weekly", MONDAY) == WEEK
