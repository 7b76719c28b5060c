"""Operations, units, models and meters in the admin."""

import pytest
from django.test import Client

from accounts.keys import Caller
from accounts.models import SCOPES, Account, User
from tests.reasons import GivesReasons
from usage import price_book
from usage.events import Event
from usage.ingestion import record_events
from usage.models import Meter, Model, Operation, Unit

SERVICE = Caller(None, frozenset(SCOPES))


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


def place(row: Operation | Unit | Model | Meter, action: str = "change") -> str:
    return f"/admin/usage/{row._meta.model_name}/{row.pk}/{action}/"


def use(account: Account, **event: object) -> None:
    record_events([Event(account=account.public_id, **event)], SERVICE)  # type: ignore[arg-type]


def test_an_operation_and_a_unit_are_added_without_code(admin: Client, acme: Account):
    admin.post("/admin/usage/unit/add/", {"slug": "pages", "name": "Pages", "kind": "count"})
    admin.post("/admin/usage/operation/add/", {"slug": "scan", "name": "Scan", "default_unit": "pages"})
    use(acme, operation="scan")
    assert price_book.current().operations["scan"].default_unit == "pages"
    assert Operation.objects.get(slug="scan").first_seen_at is None


def test_what_usage_brought_is_filtered_from_what_staff_added(admin: Client, acme: Account):
    use(acme, operation="unheard_of")
    brought = admin.get("/admin/usage/operation/", {"seen": "usage"}).content.decode()
    known = admin.get("/admin/usage/operation/", {"seen": "catalogue"}).content.decode()
    assert "unheard_of" in brought
    assert "api_call" not in brought
    assert "unheard_of" not in known


def test_saving_an_operation_is_noticed_by_every_process(admin: Client):
    operation = Operation.objects.get(slug="voice_minute")
    version = price_book.stored_version()
    fields = {"name": "Voice", "default_unit": "minutes", "bytes_per_minute": "960000"}
    admin.post(place(operation), fields)
    assert price_book.stored_version() > version
    assert price_book.current().operations["voice_minute"].bytes_per_minute == 960_000


def test_a_slug_is_written_once(admin: Client):
    operation = Operation.objects.get(slug="api_call")
    admin.post(place(operation), {"slug": "renamed", "name": "Calls", "default_unit": "requests"})
    operation.refresh_from_db()
    assert (operation.slug, operation.name) == ("api_call", "Calls")


def test_a_slug_that_is_none_is_refused(admin: Client):
    answer = admin.post("/admin/usage/unit/add/", {"slug": "two words", "name": "No", "kind": "count"})
    assert "Letters, digits, dot, dash and underscore" in answer.content.decode()


def test_what_records_use_is_not_deleted_and_the_page_says_why(admin: Client, acme: Account):
    use(acme, operation="unheard_of")
    operation = Operation.objects.get(slug="unheard_of")
    assert "Usage records of this operation" in admin.get(place(operation, "delete")).content.decode()
    assert admin.post(place(operation, "delete"), {"post": "yes"}).status_code == 200
    assert Operation.objects.filter(pk=operation.pk).exists()


@pytest.mark.parametrize(
    ("slug", "why"), [("input_tokens", "Meter: tokens"), ("requests", "Operation: api_call")]
)
def test_a_unit_that_is_named_is_not_deleted(admin: Client, slug: str, why: str):
    unit = Unit.objects.get(slug=slug)
    assert why in admin.get(place(unit, "delete")).content.decode()
    admin.post(place(unit, "delete"), {"post": "yes"})
    assert Unit.objects.filter(slug=slug).exists()


def test_what_nothing_uses_is_deleted(admin: Client):
    unit = Unit.objects.create(slug="typo", name="Typo")
    admin.post(place(unit, "delete"), {"post": "yes"})
    assert not Unit.objects.filter(slug="typo").exists()


def test_models_come_from_records_and_are_only_looked_at(admin: Client, acme: Account):
    use(acme, operation="chat", model="gpt-9")
    model = Model.objects.get(name="gpt-9")
    assert "gpt-9" in admin.get("/admin/usage/model/", {"q": "gpt"}).content.decode()
    assert admin.get("/admin/usage/model/add/").status_code == 403
    assert admin.post(place(model), {"name": "x"}).status_code == 403
    assert admin.post(place(model, "delete"), {"post": "yes"}).status_code == 403


def test_a_meter_is_chosen_from_what_is_known_and_stored_as_lists(admin: Client):
    fields = {"slug": "pictures", "name": "Pictures", "aggregation": "sum", "shown_as": "images"}
    chosen = {"units": ["input_images", "output_images"], "operations": ["image_generation"]}
    answer = admin.post("/admin/usage/meter/add/", {**fields, **chosen})
    meter = Meter.objects.get(slug="pictures")
    assert answer.status_code == 302
    assert sorted(meter.units) == ["input_images", "output_images"]
    assert meter.operations == ["image_generation"]


def test_a_sum_names_its_units_and_a_count_has_none(admin: Client):
    fields = {"slug": "pictures", "name": "Pictures", "shown_as": "images"}
    for wrong in ({"aggregation": "sum"}, {"aggregation": "count", "units": ["output_images"]}):
        answer = admin.post("/admin/usage/meter/add/", {**fields, **wrong})
        assert "A sum names its units" in answer.content.decode()
    assert not Meter.objects.filter(slug="pictures").exists()


def test_a_unit_that_nobody_knows_is_no_choice(admin: Client):
    fields = {"slug": "p", "name": "P", "aggregation": "sum", "shown_as": "p", "units": ["nonsense"]}
    assert "nonsense is not one of the available choices" in (
        admin.post("/admin/usage/meter/add/", fields).content.decode()
    )


def test_a_meter_keeps_what_it_named_before(admin: Client):
    meter = Meter.objects.create(slug="old", name="Old", aggregation="sum", units=["gone"], shown_as="x")
    fields = {"name": "Older", "aggregation": "sum", "units": ["gone"], "shown_as": "x"}
    assert admin.post(place(meter), fields).status_code == 302
    meter.refresh_from_db()
    assert (meter.name, meter.units) == ("Older", ["gone"])


def test_a_meter_that_a_plan_limits_is_not_deleted(admin: Client):
    meter = Meter.objects.get(slug="image_generations")
    assert "still in use" in admin.get(place(meter, "delete")).content.decode()
    assert admin.post(place(meter, "delete"), {"post": "yes"}).status_code == 200
    assert Meter.objects.filter(slug="image_generations").exists()
