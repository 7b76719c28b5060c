"""The catalogue as files: out and in again says that nothing changes, and what changes is shown first."""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import openpyxl
import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Account, AuditEntry, User
from tests.usage.files import (
    CSV,
    XLSX,
    confirmed,
    csv_of,
    exported,
    imported,
    rows_of,
    sent,
    text_of,
    xlsx_of,
)
from tests.usage.price_list import add_price
from usage import price_book
from usage.admin import file_formats, files
from usage.models import ExchangeRate, Meter, Operation, PricingConfig, Rate, Unit

TABLES = [
    *("usage/operation", "usage/unit", "usage/meter", "usage/pricingconfig", "usage/exchangerate"),
    *("billing/plan", "billing/planlimit"),
]
PRICES, RATES, UNITS = "usage/pricingconfig", "usage/exchangerate", "usage/unit"
PRICE = {
    "provider": "openai",
    "model": "gpt-9",
    "operation": "",
    "variant": "",
    "unit": "input_tokens",
    "price_usd": "0.0000000001",
    "per": "1",
    "effective_from": "2026-03-01",
    "source": "price page",
}


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def entries() -> list[Any]:
    return list(AuditEntry.objects.filter(action="catalogue.imported").order_by("pk"))


@pytest.mark.parametrize("kind", [CSV, XLSX])
@pytest.mark.parametrize("table", TABLES)
def test_what_was_exported_comes_back_unchanged(admin: Client, acme: Account, table: str, kind: str) -> None:
    """Also with ten places, with instants, and with names that look like formulas and numbers."""
    since = datetime(2026, 3, 1, 6, 30, 15, tzinfo=UTC)
    add_price(model="=1+1", since=since, per=7, input_tokens="123456789.0123456789", seconds="0.0000000001")
    add_price(model="007", requests="0")
    add_price(model="'=quoted", requests="1")
    Operation.objects.create(slug="odd", name="+cmd|' /C calc'!A0")
    ExchangeRate.objects.create(quote="INR", rate=Decimal("83.1234567891"), effective_from="2026-03-01")
    content = exported(admin, table, kind)
    version = price_book.stored_version()

    preview = sent(admin, table, content, kind)
    page = text_of(preview)

    assert "Skipped" in page
    assert ">New<" not in page.replace(" ", "")
    assert ">Update<" not in page.replace(" ", "")
    assert ", 0 updated" in text_of(confirmed(admin, table, preview))
    assert price_book.stored_version() == version
    assert entries() == []


def test_files_hold_no_formula_and_every_digit(admin: Client, db: None) -> None:
    add_price(model="=1+1", input_tokens="123456789.0123456789", seconds="0.25")
    (row,) = [row for row in rows_of(exported(admin, PRICES)) if row["price_usd"] == "123456789.0123456789"]
    assert row["model"] == "'=1+1"
    sheet = openpyxl.load_workbook(BytesIO(exported(admin, PRICES, XLSX))).active
    assert sheet is not None
    found = {cells[4].value: cells[5] for cells in sheet.iter_rows() if cells[1].value == "'=1+1"}
    # More digits than a spreadsheet keeps are text; fewer are a number.
    assert (found["input_tokens"].value, found["input_tokens"].data_type) == ("123456789.0123456789", "s")
    assert (found["seconds"].value, found["seconds"].data_type) == (0.25, "n")


def test_new_prices_are_shown_and_added_when_confirmed(admin: Client, staff: User) -> None:
    other = {**PRICE, "unit": "output_tokens", "price_usd": "10", "per": "1000000"}
    preview = sent(admin, PRICES, csv_of(PRICE, other))
    assert "0.0000000001" in text_of(preview)
    assert not PricingConfig.objects.filter(model="gpt-9").exists()
    version = price_book.stored_version()

    said = text_of(confirmed(admin, PRICES, preview, reason="the new price page"))

    assert "2 new, 0 updated" in said
    config = PricingConfig.objects.get(model="gpt-9")
    assert (config.provider, config.source, config.created_by) == ("openai", "price page", staff)
    assert config.effective_from == datetime(2026, 3, 1, tzinfo=UTC)
    assert {(r.unit.slug, r.price, r.per) for r in config.rates.all()} == {
        ("input_tokens", Decimal("0.0000000001"), 1),
        ("output_tokens", Decimal(10), 1_000_000),
    }
    assert price_book.stored_version() > version
    (entry,) = entries()
    assert (entry.actor, entry.reason, entry.ip_address) == (staff.email, "the new price page", "127.0.0.1")
    assert entry.after["rows"] == 2
    assert entry.after["new"][0]["price_usd"] == "0.0000000001"
    # The same file again says that all of it is there.
    assert "0 new, 0 updated, 0 deleted and 2 skipped" in imported(admin, PRICES, csv_of(PRICE, other))
    assert len(entries()) == 1


def test_a_price_that_is_there_is_never_changed(admin: Client, db: None) -> None:
    imported(admin, PRICES, csv_of(PRICE))
    new = {**PRICE, "effective_from": "2026-04-01"}
    for change, field in (({"price_usd": "0.0000000002"}, "price_usd"), ({"per": "2"}, "per")):
        answer = sent(admin, PRICES, csv_of(new, {**PRICE, **change}))
        assert "confirm_form" not in answer.context
        assert f"{field}:" in text_of(answer)
        assert "is never changed: add a row with a later date" in text_of(answer)
    assert Rate.objects.filter(config__model="gpt-9").count() == 1


def test_a_price_from_another_instant_is_a_new_row(admin: Client, db: None) -> None:
    imported(admin, PRICES, csv_of(PRICE))
    imported(
        admin, PRICES, csv_of({**PRICE, "price_usd": "2", "effective_from": "2026-03-01T06:00:00+05:30"})
    )
    assert [rate.price for rate in Rate.objects.filter(config__model="gpt-9").order_by("id")] == [
        Decimal("0.0000000001"),
        Decimal(2),
    ]


def test_prices_typed_into_a_spreadsheet_are_read_as_they_are_shown(admin: Client, db: None) -> None:
    typed = {**PRICE, "price_usd": 0.1, "per": 1_000_000, "effective_from": date(2026, 3, 1)}
    imported(admin, PRICES, xlsx_of(typed), XLSX)
    rate = Rate.objects.get(config__model="gpt-9")
    assert (rate.price, rate.per, rate.config.effective_from) == (
        Decimal("0.1"),
        1_000_000,
        datetime(2026, 3, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"price_usd": "ten"}, "price_usd: 'ten' is no number"),
        ({"price_usd": "NaN"}, "price_usd: 'NaN' is no number"),
        ({"price_usd": ""}, "price_usd: This field cannot be null"),
        ({"price_usd": "-1"}, "price_usd: Ensure this value is greater than or equal to 0"),
        (
            {"price_usd": "0.00000000001"},
            "price_usd: 0.00000000001 has 11 decimal places, and a price keeps 10",
        ),
        ({"per": "0"}, "per: Ensure this value is greater than or equal to 1"),
        ({"per": "1.5"}, "per: '1.5' is no whole number"),
        ({"unit": "nothing"}, "unit: There is no unit 'nothing'; add it first"),
        ({"effective_from": "soon"}, "effective_from: 'soon' is no instant"),
        ({"model": "", "provider": ""}, "Name a model, an operation, or both"),
        ({"model": "", "operation": "chat", "variant": "hd"}, "variant: A variant belongs to a model"),
        ({"operation": "no way"}, "operation: Letters, digits"),
    ],
)
def test_what_is_wrong_with_a_row_names_its_column(admin: Client, change: dict[str, Any], says: str) -> None:
    answer = sent(admin, PRICES, csv_of({**PRICE, "model": "fine"}, {**PRICE, **change}))
    page = answer.content.decode()
    words = " ".join("".join(part.split(">", 1)[-1] for part in page.split("<")).split())
    assert says in words.replace("&#x27;", "'")
    assert "confirm_form" not in answer.context
    assert not Rate.objects.filter(config__model__in=("fine", "gpt-9")).exists()


def test_a_row_twice_in_one_file_is_an_error(admin: Client, db: None) -> None:
    answer = sent(admin, PRICES, csv_of(PRICE, {**PRICE, "price_usd": "5"}))
    assert "This is in row 1 already" in text_of(answer)


def test_what_became_wrong_after_the_preview_imports_nothing(admin: Client, db: None) -> None:
    more = {**PRICE, "model": "gpt-10"}
    preview = sent(admin, PRICES, csv_of(more, PRICE))
    add_price(
        provider="openai", model="gpt-9", since=datetime(2026, 3, 1, tzinfo=UTC), input_tokens="7"
    )  # somebody was faster
    page = text_of(confirmed(admin, PRICES, preview))
    assert "Nothing was imported" in page
    assert "is never changed" in page
    assert not PricingConfig.objects.filter(model="gpt-10").exists()
    assert entries() == []


def test_an_import_asks_for_a_reason(admin: Client, db: None) -> None:
    preview = sent(admin, PRICES, csv_of(PRICE))
    page = text_of(confirmed(admin, PRICES, preview, reason=" "))
    assert "Say why; the reason is kept." in page
    assert not PricingConfig.objects.filter(model="gpt-9").exists()


def test_only_a_file_that_was_sent_is_read(admin: Client, db: None) -> None:
    preview = sent(admin, PRICES, csv_of(PRICE))
    preview.context["confirm_form"].initial["import_file_name"] = "passwd"
    assert "Send the file again." in text_of(confirmed(admin, PRICES, preview))


def test_exchange_rates_are_only_added(admin: Client, db: None) -> None:
    row = {"base": "USD", "quote": "INR", "rate": "84.1", "effective_from": "2026-03-01", "source": "RBI"}
    assert "1 new" in imported(admin, RATES, csv_of(row))
    assert "1 skipped" in imported(admin, RATES, csv_of({**row, "rate": "84.10"}))
    for change, says in (
        ({"rate": "84.2"}, "It is 84.1 from then on, and is never changed"),
        ({"quote": "inr"}, "Three capital letters"),
        ({"base": "EUR"}, "All rates are of 1 USD"),
        ({"effective_from": "2026-04-01", "rate": "0"}, "A rate is above zero"),
    ):
        answer = sent(admin, RATES, csv_of({**row, **change}))
        assert says in text_of(answer)
        assert "confirm_form" not in answer.context
    assert ExchangeRate.objects.get(effective_from="2026-03-01").rate == Decimal("84.1")


def test_definitions_are_updated_where_they_differ_and_never_deleted(admin: Client, db: None) -> None:
    before = Unit.objects.count()
    rows = [
        {"unit": "seconds", "name": "Seconds of sound", "kind": "time", "informational": "no"},
        {"unit": "leaves", "name": "Leaves", "kind": "count", "informational": "yes"},
    ]
    preview = sent(admin, UNITS, csv_of(*rows))
    assert "<ins" in preview.content.decode()
    assert "1 new, 1 updated" in text_of(confirmed(admin, UNITS, preview))
    assert Unit.objects.get(slug="seconds").name == "Seconds of sound"
    assert Unit.objects.get(slug="leaves").informational
    assert Unit.objects.count() == before + 1
    (entry,) = entries()
    assert entry.before == {"changed": [{"unit": "seconds", "name": "Seconds"}]}
    assert entry.after["changed"] == [{"unit": "seconds", "name": "Seconds of sound"}]


def test_a_column_that_is_left_out_stays_as_it_is(admin: Client, db: None) -> None:
    imported(admin, UNITS, csv_of({"unit": "seconds", "name": "Sound"}))
    assert (Unit.objects.get(slug="seconds").kind, Unit.objects.get(slug="seconds").name) == ("time", "Sound")


@pytest.mark.parametrize(
    ("table", "row", "says"),
    [
        (UNITS, {"unit": "x", "name": "", "kind": "count", "informational": "no"}, "cannot be blank"),
        (UNITS, {"unit": "x", "name": "X", "kind": "heaps", "informational": "no"}, "not a valid choice"),
        (UNITS, {"unit": "x", "name": "X", "kind": "count", "informational": "perhaps"}, "Write yes or no"),
        (UNITS, {"unit": "no way", "name": "X", "kind": "count", "informational": "no"}, "Letters, digits"),
        (UNITS, {"unit": "x", "nonsense": "1"}, "Unknown columns: nonsense. Known are: unit, name"),
        (UNITS, {"name": "X"}, "not present in the file headers: unit"),
        (PRICES, {key: PRICE[key] for key in PRICE if key != "per"}, "Columns are missing: per."),
        (
            "usage/meter",
            {
                "meter": "m",
                "name": "M",
                "aggregation": "sum",
                "units": "nothing",
                "operations": "",
                "shown_as": "m",
            },
            "There is none of these yet: nothing",
        ),
    ],
)
def test_files_that_make_no_sense_are_refused(admin: Client, table: str, row: dict, says: str) -> None:
    answer = sent(admin, table, csv_of(row))
    assert says in text_of(answer)
    assert "confirm_form" not in answer.context
    assert "Traceback" not in answer.content.decode()


def test_the_definition_of_a_limited_meter_stays(admin: Client, acme: Account) -> None:
    (row,) = [row for row in rows_of(exported(admin, "usage/meter")) if row["meter"] == "image_generations"]
    answer = sent(admin, "usage/meter", csv_of({**row, "units": "input_images"}))
    assert "What this meter counts is fixed" in text_of(answer)
    assert Meter.objects.get(slug="image_generations").units == ["output_images"]
    imported(admin, "usage/meter", csv_of({**row, "name": "Pictures"}))
    assert Meter.objects.get(slug="image_generations").name == "Pictures"


def test_too_many_rows_and_too_large_files_are_refused(admin: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(file_formats, "ROWS_AT_MOST", 1)
    rows = [{"unit": slug, "name": slug} for slug in ("a", "b")]
    for content, kind in ((csv_of(*rows), CSV), (xlsx_of(*rows), XLSX)):
        assert "A file has at most 1 rows" in text_of(sent(admin, UNITS, content, kind))
    monkeypatch.setattr(files, "FILE_BYTES_AT_MOST", 5)
    assert "A file has at most 2 MiB" in text_of(sent(admin, UNITS, csv_of(*rows)))
    monkeypatch.setattr(files, "FILE_BYTES_AT_MOST", 10**6)
    monkeypatch.setattr(file_formats, "UNPACKED_AT_MOST", 100)
    assert "Unpacked, this file is too large" in text_of(sent(admin, UNITS, xlsx_of(*rows), XLSX))


@pytest.mark.parametrize("content", [b"", b"unit,name\n", b"PK\x03\x04 no zip", b"\xff\xfe\x00"])
@pytest.mark.parametrize("kind", [CSV, XLSX])
def test_what_is_no_such_file_is_refused(admin: Client, content: bytes, kind: str) -> None:
    answer = sent(admin, UNITS, content, kind)
    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert "confirm_form" not in answer.context


@pytest.mark.parametrize("table", TABLES)
def test_who_may_only_look_exports_and_does_not_import(client: Client, db: None, table: str) -> None:
    app, model = table.split("/")
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    client.force_login(clerk)
    assert client.get(f"/admin/{table}/export/").status_code == 403
    clerk.user_permissions.set(
        Permission.objects.filter(codename=f"view_{model}", content_type__app_label=app)
    )
    clerk = User.objects.get(pk=clerk.pk)
    client.force_login(clerk)
    assert client.get(f"/admin/{table}/export/").status_code == 200
    assert client.get(f"/admin/{table}/import/").status_code == 403
    assert client.post(f"/admin/{table}/process_import/").status_code == 403
    assert "/import/" not in client.get(f"/admin/{table}/").content.decode()
