"""The printed statement: the same figures to the digit, names as they are, few rows and many."""

import io
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from pypdf import PdfReader

from accounts.models import Account, User
from tests.billing.stated import BREAKDOWNS, busy_november, event, record, refused, statement
from tests.conftest import Api
from usage.models import ExchangeRate


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel("2026-11-20T12:00:00Z", tick=False):
        yield


def pdf_of(api: Api, account: Account, month: str = "2026-11") -> PdfReader:
    answer = api.get(f"billing/statements/{month}/", account=account.public_id, format="pdf")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    return PdfReader(io.BytesIO(answer.content), strict=True)


def root_of(reader: PdfReader) -> Any:
    """What the document says of itself."""
    return reader.trailer["/Root"]


def words(reader: PdfReader) -> str:
    """The whole document as it reads, single spaces."""
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def kept(reader: PdfReader) -> str:
    """The characters that no font here can write, as the document keeps them for reading and copying."""
    contents = [page.get_contents() for page in reader.pages]
    streams = b"".join(content.get_data() for content in contents if content is not None)
    return "".join(
        bytes.fromhex(found.decode()).decode("utf-16-be")
        for found in re.findall(rb"/ActualText<FEFF([0-9A-F]+)>", streams)
    )


def test_the_text_has_the_api_s_figures_to_the_digit(acme: Account, service_api: Api) -> None:
    ExchangeRate.objects.create(quote="INR", rate="90.1234567891", effective_from="2026-11-10")
    busy_november(service_api, acme)
    refused(acme, "2026-11-19T08:00", 7)
    document = statement(service_api, account=acme.public_id)

    text = words(pdf_of(service_api, acme))

    totals = document["totals"]["cost"]
    found = {Decimal(number.replace(",", "")) for number in re.findall(r"[\d,]+\.\d{10}", text)}
    for name in BREAKDOWNS:
        for row in document[name]["rows"]:
            assert {Decimal(row["cost"]["USD"]), Decimal(row["cost"]["INR"])} <= found | {Decimal(0)}
    assert {Decimal(totals["USD"]), Decimal(totals["INR"])} <= found
    assert "Operations 10 Failed 1 Refused 8" in text
    assert "1 record has no price yet. What it costs is not known, and not in these sums." in text
    assert "1 USD = ₹83.50, the rate since 1 Jan 2020; used for 1 Nov 2026 to 9 Nov 2026" in text


def test_it_is_tagged_titled_and_the_same_each_time(acme: Account, service_api: Api) -> None:
    busy_november(service_api, acme)
    path, query = "billing/statements/2026-11/", {"account": acme.public_id, "format": "pdf"}

    first, second = service_api.get(path, **query), service_api.get(path, **query)

    assert first.content == second.content
    reader = pdf_of(service_api, acme)
    root = root_of(reader)
    assert root["/MarkInfo"]["/Marked"].value is True
    assert root["/Lang"] == "en"
    assert b"pdfuaid" in root["/Metadata"].get_data()
    assert reader.metadata is not None
    assert reader.metadata.title == "Statement, November 2026, Acme"
    assert [round(side) for side in reader.pages[0].mediabox[2:]] == [595, 842]


@pytest.mark.parametrize(
    "name",
    [
        '= heading *bold* _it_ $x$ #eval("1") `raw` <label> @ref',
        '#panic() \\ #read("/etc/passwd") // comment /* more */ ~ -- ---',
        "'quotes' \"double\" [brackets] {braces} & ; % ^",
        '#import "@preview/x:1.0.0": *',
        "Ünïcødé Ελληνικά Кириллица",
        "a" * 200,
    ],
    ids=["markup", "code", "quotes", "package", "letters", "long"],
)
def test_names_come_out_as_they_are(acme: Account, service_api: Api, name: str) -> None:
    Account.objects.filter(pk=acme.pk).update(name=name)
    User.objects.filter(email="bob@example.com").update(name=name[:150])
    at = "2026-11-05T10:00:00Z"
    record(service_api, event(acme, at, "1", campaign=name, model=name[:128], user="bob@example.com"))

    reader = pdf_of(service_api, acme)

    text = words(reader).replace(" ", "")
    assert text.count(name.replace(" ", "")) >= 2  # the account and the campaign
    assert text.count(name[:128].replace(" ", "")) >= 3
    assert b"pdfuaid" in root_of(reader)["/Metadata"].get_data()


def test_right_to_left_names_keep_their_letters(acme: Account, service_api: Api) -> None:
    record(service_api, event(acme, "2026-11-05T10:00:00Z", "1", campaign="שלום", model="عربي"))

    reader = pdf_of(service_api, acme)

    text = words(reader)
    assert "שלום" in text
    assert set("عربي") <= set(text)
    assert b"pdfuaid" in root_of(reader)["/Metadata"].get_data()


def test_what_no_font_can_write_is_still_in_the_document(acme: Account, service_api: Api) -> None:
    record(service_api, event(acme, "2026-11-05T10:00:00Z", "1", campaign="𓀀 spring 𓀁"))

    reader = pdf_of(service_api, acme)

    assert "𓀀" in kept(reader)
    assert "𓀁" in kept(reader)
    assert "spring" in words(reader)
    assert root_of(reader)["/MarkInfo"]["/Marked"].value is True


@pytest.mark.parametrize(
    "name", ["\ufeffspring", "spring\u202e", "\ud7ffspring", "👩‍👩‍👧‍👦spring", "ﷺspring"]
)
def test_no_character_keeps_a_statement_from_being_printed(
    acme: Account, service_api: Api, name: str
) -> None:
    Account.objects.filter(pk=acme.pk).update(name=name)
    record(service_api, event(acme, "2026-11-05T10:00:00Z", "1", campaign=name))

    text = words(pdf_of(service_api, acme))

    assert text.count("spring") >= 2
    assert "Total 1 – 1.00 83.50" in text


def test_an_empty_month_is_one_page_that_says_so(acme: Account, service_api: Api) -> None:
    reader = pdf_of(service_api, acme)

    text = words(reader)
    assert len(reader.pages) == 1
    assert "November 2026 Acme" in text
    assert "$0.00" in text
    assert "₹0.00" in text
    assert "Nothing was recorded in this month." in text
    assert "Page 1 of 1" in text
    assert "By operation" not in text


def test_three_hundred_models_flow_over_pages_with_their_heading_on_each(
    acme: Account, service_api: Api
) -> None:
    record(
        service_api,
        *(
            event(acme, "2026-11-05T10:00:00Z", f"0.{n:03}1", model=f"model-{n:03}-" + "m" * (n % 100))
            for n in range(300)
        ),
    )

    reader = pdf_of(service_api, acme)

    pages = [page.extract_text() for page in reader.pages]
    with_models = [text for text in pages if "model-" in text]
    assert len(with_models) > 4
    assert all(re.search(r"Model\s+Operations\s+Failed\s+USD\s+INR", text) for text in with_models)
    text = words(reader)
    told = re.findall(r"model-(\d{3})-", text)
    assert sorted(told) == [f"{n:03}" for n in range(100, 300)]
    rest = sum((Decimal(f"0.{n:03}1") for n in range(100)), Decimal(0))
    assert re.search(rf"and 100 others 100 – {rest} ", text)
    assert all(f"Page {n} of {len(pages)}" in page for n, page in enumerate(pages, start=1))
    assert all("Statement, November 2026" in page for page in pages[1:])
    assert text.count("Total 300") == 4  # by operation, model, key and day


def test_the_largest_amounts_fit(acme: Account, service_api: Api) -> None:
    at = "2026-11-05T10:00:00Z"
    record(
        service_api,
        *(event(acme, at, "9999999.9999999999", event_id=f"e{n}", model="m") for n in range(90)),
    )

    text = words(pdf_of(service_api, acme))

    assert "899,999,999.999999991" in text
    assert "75,14,99,99,999.9999992485" in text
