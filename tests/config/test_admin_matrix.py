"""Who may do what in the admin: one table, written by hand, asked of every page by real requests.

A page, action or address of the admin that the table does not know fails the test: add its line.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.contrib.auth.models import Group
from django.db import models
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone

from accounts.models import Account, User
from billing.models import ReportSubscription
from tests.billing.test_admin_everything import something_everywhere  # noqa: F401 - a fixture
from tests.config.admin_rows import ready_for_every_action, row_of
from usage.models import Record, Unit

# v: Billing viewer, m: Billing manager, s: Support, *: superusers, who may whatever any of them may;
# a dash: nobody at all. The columns: view, add, change, delete.
TABLE = """
account.EmailAddress        s   -  -  -
accounts.Account            vms *  *  -
accounts.AccountDeletion    vms -  -  *
accounts.AuditEntry         vm  -  -  -
accounts.Invitation         vms -  -  s
accounts.Key                vms *  s  -
accounts.Member             vms s  s  s
accounts.User               vms *  *  *
auth.Group                  *   *  *  *
billing.BilledPeriod        vms -  -  -
billing.CostAlarm           vm  m  m  m
billing.CostAlarmFiring     vm  -  -  -
billing.MeterEvent          vm  -  -  -
billing.OverageTier         vm  -  -  -
billing.Plan                vms m  m  m
billing.PlanLimit           vms m  m  m
billing.ReportSending       vm  -  -  -
billing.ReportSubscription  vm  vm vm vm
billing.StripeCheckout      vm  -  -  -
billing.StripeCustomer      vm  -  -  -
billing.StripeDispute       vm  -  -  -
billing.StripeEvent         vm  -  -  -
billing.StripeFinding       vm  -  -  -
billing.StripeInvoice       vm  -  -  -
billing.StripeNotice        vm  -  -  -
billing.StripePrice         vm  -  -  -
billing.StripeRefund        vm  -  -  -
billing.StripeSubscription  vm  -  -  -
billing.Subscription        vms -  m  -
mfa.Authenticator           s   -  -  s
usage.Alert                 vms -  -  -
usage.AlertDelivery         vms -  -  -
usage.AlertRule             vms -  *  *
usage.AlertSettings         vms -  -  -
usage.Balance               vms -  -  -
usage.Campaign              vms -  *  -
usage.ExchangeRate          vm  m  -  -
usage.Job                   vm  -  -  -
usage.LatePricing           vm  -  -  -
usage.Meter                 vms m  m  m
usage.Model                 vms -  -  -
usage.Operation             vms m  m  m
usage.PricingConfig         vm  m  -  -
usage.Quota                 vms m  -  -
usage.Rate                  vm  m  -  -
usage.Record                vms -  -  -
usage.RecordDetail          vms -  -  -
usage.Refusal               vms -  -  -
usage.Replay                vm  -  -  -
usage.Reservation           vms -  -  -
usage.Reversal              vms -  -  -
usage.Schedule              vm  -  -  -
usage.Session               vms -  -  -
usage.Unit                  vms m  m  m
usersessions.UserSession    s   -  -  s
"""
# Buttons on a row's page, and further pages of a model: the end of the address's name.
ACTIONS = """
accounts.Account       delete_with_reason  *
accounts.Account       see_as_user         s
accounts.Key           rotate              s
accounts.Key           revoke              s
billing.CostAlarmFiring retry              m
billing.MeterEvent     retry               m
billing.Plan           move_to_free        m
billing.Plan           move_accounts       m
billing.ReportSending  retry               vm
billing.ReportSubscription preview         vm
billing.ReportSubscription send_now        vm
billing.StripeCustomer sync_now            m
billing.StripeEvent    replay              m
billing.StripeFinding  settle              m
billing.Subscription   undo                m
usage.AlertDelivery    retry               *
usage.Campaign         archive             *
usage.Campaign         restore             *
usage.Job              retry               m
usage.PricingConfig    newer               m
usage.PricingConfig    another_rate        m
usage.Quota            end                 m
usage.Record           reverse             m
usage.Reservation      release             s
accounts.User          password_change     *
"""
# What is done to ticked rows of a list.
TICKED = """
billing.Subscription   move_selected       m
usage.Quota            end_selected        m
"""
# Files of the catalogue: who takes them out, and who brings them in.
FILES = """
billing.Plan           vms m
billing.PlanLimit      vms m
usage.ExchangeRate     vm  m
usage.Meter            vms m
usage.Operation        vms m
usage.PricingConfig    vm  m
usage.Unit             vms m
"""
# Pages of a model with more in their address than a row.
FURTHER = {"accounts_account_statement": "vms", "usage_latepricing_price": "vm"}
# Pages of no model: who may see them; o: staff without a role, p: anybody.
SITE = {
    "index": "vmso", "search": "vmso", "password_change": "vmso", "password_change_done": "vmso",
    "autocomplete": "", "view_on_site": "", "app_list": "", "login": "p", "logout": "p", "jsi18n": "vmso",
}  # fmt: skip
PAGES = ("changelist", "add", "change", "delete", "history", "csv", "xlsx")
ROLES = {"v": "Billing viewer", "m": "Billing manager", "s": "Support", "*": "", "o": ""}
WHO = {"v": "viewer", "m": "manager", "s": "support", "*": "superuser", "o": "staff without a role"}


def lines(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]


def allowed(cell: str, role: str) -> bool:
    return cell != "-" and (role == "*" or role in cell)


def address(model: type[models.Model], page: str, *args: object) -> str:
    app = "auth" if page == "password_change" else model._meta.app_label
    return reverse(f"admin:{app}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def rows(something_everywhere: None, acme: Account, bob: User, settings: Any) -> None:  # noqa: F811
    ready_for_every_action(acme, bob, settings)


def signed_in(role: str) -> Client:
    user = User.objects.create_user(
        f"{role.replace('*', 'all')}@staff.example.com", "pw", is_staff=True, is_superuser=role == "*"
    )
    if ROLES[role]:
        user.groups.set([Group.objects.get(name=ROLES[role])])
    ReportSubscription.objects.update(user=user)  # nobody else's are shown
    client = Client()
    client.force_login(user)
    return client


def named(patterns: list[Any]) -> Iterator[tuple[str | None, str]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from named(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield pattern.name, str(pattern.pattern)


def test_the_table_knows_every_address_of_the_admin():
    known = set(SITE)
    for label, *_ in lines(TABLE):
        base = label.lower().replace(".", "_")
        known |= {f"{base}_{page}" for page in PAGES}
    for label, *_ in lines(FILES):
        base = label.lower().replace(".", "_")
        known |= {f"{base}_{page}" for page in ("export", "import", "process_import")}
    known |= set(FURTHER)
    known |= {f"{label.lower().replace('.', '_')}_{name}" for label, name, _ in lines(ACTIONS)}
    known = (known - {"accounts_user_password_change"}) | {"auth_user_password_change"}
    found = list(named(django_admin.site.get_urls()))
    assert {name for name, _ in found if name} == known
    # Django's redirect of `…/1/` to the row's page, and its answer to what is no page.
    assert {text for name, text in found if name is None} == {"<path:object_id>/", r"(?P<url>.*)$"}


def test_the_table_knows_every_model_and_every_action():
    registry: dict[Any, Any] = dict(django_admin.site._registry)
    assert {label for label, *_ in lines(TABLE)} == {model._meta.label for model in registry}
    request = RequestFactory().get("/admin/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    ticked = {(m._meta.label, name) for m, a in registry.items() for name in a.get_actions(request)}
    assert ticked == {(label, name) for label, name, _ in lines(TICKED)}
    assert not [model for model, a in registry.items() if a.actions_submit_line or a.actions_row]


@pytest.mark.parametrize("role", WHO, ids=WHO.get)
def test_every_page_of_a_model_opens_for_whom_the_table_names(rows: None, role: str):
    client, wrong = signed_in(role), []
    for label, view, add, change, delete in lines(TABLE):
        model = apps.get_model(label)
        pk = row_of(model).pk
        answers = {
            "list": (client.get(address(model, "changelist")), view),
            "CSV": (client.get(address(model, "csv")), view),
            "XLSX": (client.get(address(model, "xlsx")), view),
            "page": (client.get(address(model, "change", pk)), view),
            "history": (client.get(address(model, "history", pk)), view),
            "add": (client.get(address(model, "add")), add),
            "added": (client.post(address(model, "add"), {}), add),
            "deletion": (client.get(address(model, "delete", pk)), delete),
            "deleted": (client.post(address(model, "delete", pk), {}), delete),
            "changed": (client.post(address(model, "change", pk), {"_matrix": "1"}), change),
        }
        for what, (answer, cell) in answers.items():
            if (answer.status_code in (200, 302)) != allowed(cell, role) or answer.status_code >= 404:
                wrong.append((label, what, answer.status_code))
    assert wrong == []


@pytest.mark.parametrize("role", WHO, ids=WHO.get)
def test_every_action_is_done_by_whom_the_table_names(rows: None, role: str):
    client, wrong = signed_in(role), []
    for label, name, cell in lines(ACTIONS):
        model = apps.get_model(label)
        page = address(model, name, row_of(model, name).pk)
        for answer in (client.get(page), client.post(page, {})):
            if (answer.status_code in (200, 302)) != allowed(cell, role) or answer.status_code >= 404:
                wrong.append((label, name, answer.status_code))
                break
    for label, name, cell in lines(TICKED):
        model = apps.get_model(label)
        posted = {"action": name, "_selected_action": [row_of(model).pk]}
        answer = client.post(address(model, "changelist"), posted)
        if (b"tg-act-page" in answer.content) != allowed(cell, role):
            wrong.append((label, name, answer.status_code))
    assert wrong == []


def further() -> dict[str, str]:
    """An address of each of FURTHER."""
    account, unit = Account.objects.get(name="Acme"), Unit.objects.get(slug="requests")
    record = Record.objects.order_by("-pk")[0]
    where = {"operation_id": record.operation_id, "model_id": record.model_id, "unit_id": unit.pk}
    month = f"{timezone.now():%Y-%m}"
    statement = reverse("admin:accounts_account_statement", args=[account.pk, month])
    return {
        "accounts_account_statement": f"{statement}?format=csv",
        "usage_latepricing_price": reverse("admin:usage_latepricing_price", kwargs=where),
    }


@pytest.mark.parametrize("role", WHO, ids=WHO.get)
def test_files_and_further_pages_open_for_whom_the_table_names(rows: None, role: str):
    client, wrong = signed_in(role), []
    for label, taken_out, brought_in in lines(FILES):
        model = apps.get_model(label)
        for answer, cell in (
            (client.get(address(model, "export")), taken_out),
            (client.get(address(model, "import")), brought_in),
            (client.post(address(model, "process_import"), {}), brought_in),
        ):
            if (answer.status_code in (200, 302)) != allowed(cell, role):
                wrong.append((label, answer.status_code))
    for name, path in further().items():
        status = client.get(path).status_code
        if (status in (200, 302)) != allowed(FURTHER[name], role):
            wrong.append((name, status))
    assert wrong == []


@pytest.mark.parametrize("who", ["nobody", "a plain user"])
def test_nobody_else_gets_in_anywhere(rows: None, who: str, alice: User):
    client = Client()
    if who == "a plain user":
        client.force_login(alice)
    pages = [address(apps.get_model(label), "changelist") for label, *_ in lines(TABLE)]
    for label, *_ in lines(TABLE):
        model = apps.get_model(label)
        pages += [address(model, page, row_of(model).pk) for page in ("change", "delete", "history")]
        pages.append(address(model, "add"))
    for label, name, _ in lines(ACTIONS):
        model = apps.get_model(label)
        pages.append(address(model, name, row_of(model, name).pk))
    for label, *_ in lines(FILES):
        pages += [address(apps.get_model(label), page) for page in ("export", "import", "process_import")]
    for label, *_ in lines(TABLE):
        pages += [address(apps.get_model(label), page) for page in ("csv", "xlsx")]
    pages += list(further().values())
    pages += [reverse(f"admin:{name}") for name in SITE if name in ("index", "search", "autocomplete")]
    for page in pages:
        for answer in (client.get(page), client.post(page, {"reason": "x", "post": "yes"})):
            assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/"), page


@pytest.mark.parametrize("role", WHO, ids=WHO.get)
def test_pages_of_no_model_open_for_all_staff(db: None, role: str):
    client = signed_in(role)
    for name, cell in SITE.items():
        if cell == "vmso":
            assert client.get(reverse(f"admin:{name}")).status_code in (200, 302), name
