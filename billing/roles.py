"""What each role of the staff may do. Superusers may do everything, and they alone hand out rights.

Viewer: looks at everything. Manager: also whatever moves money. Support: people, keys and limits.
"""

from collections.abc import Iterable
from typing import Any

from django.apps import apps

from accounts import roles

VIEWER, MANAGER, SUPPORT = "Billing viewer", "Billing manager", "Support"
OURS = ("accounts", "usage", "billing")


def rights(app: str, **by_model: str) -> set[str]:
    """`rights("usage", rate="view add")`: the rights named for each model."""
    return {f"{app}.{verb}_{model}" for model, verbs in by_model.items() for verb in verbs.split()}


def seen_by_viewers() -> set[str]:
    models = (model for app in OURS for model in apps.get_app_config(app).get_models())
    viewed = {f"{model._meta.app_label}.view_{model._meta.model_name}" for model in models}
    return {*viewed, "billing.view_net"}


MOVES_MONEY = {
    *rights("usage", pricingconfig="add", rate="add", exchangerate="add"),
    *rights("usage", operation="add change delete", unit="add change delete", meter="add change delete"),
    *rights("usage", quota="add change", record="change", job="change"),
    *rights("billing", plan="add change delete", planlimit="add change delete", subscription="change"),
    *rights("billing", stripeevent="change", stripefinding="change", stripecustomer="change"),
    *rights("billing", meterevent="change"),
    *rights("billing", costalarm="add change delete", costalarmfiring="change"),
}

HELPS_PEOPLE = {
    "accounts.view_as_user",
    *rights("accounts", account="view", user="view", member="view add change delete"),
    *rights("accounts", invitation="view delete", accountdeletion="view", key="view change"),
    *rights("account", emailaddress="view"),
    *rights("mfa", authenticator="view delete"),
    *rights("usersessions", usersession="view delete"),
    *rights("usage", record="view", session="view", campaign="view", reversal="view", recorddetail="view"),
    *rights("usage", operation="view", unit="view", model="view", meter="view"),
    *rights("usage", quota="view", balance="view", reservation="view change", refusal="view"),
    *rights("usage", alert="view", alertdelivery="view", alertrule="view", alertsettings="view"),
    *rights("billing", plan="view", planlimit="view", subscription="view", billedperiod="view"),
}


def wanted() -> dict[str, Iterable[str]]:
    seen = seen_by_viewers()
    return {VIEWER: seen, MANAGER: seen | MOVES_MONEY, SUPPORT: HELPS_PEOPLE}


def give(using: str = "default", **_: Any) -> None:
    """After every migrate: the groups, and for each the rights that this version brings."""
    existing = roles.stored_rights(using)
    for name, named in wanted().items():
        roles.give(name, named, existing, using)
