"""Forms of the pages about oneself and one's account."""

from functools import lru_cache
from zoneinfo import available_timezones

from django import forms
from django.db import transaction
from django.http import HttpRequest

from accounts import audit
from accounts.membership import ROLES_GIVEN_BY
from accounts.models import Account, Member, User

# Regions as people know them; the rest of the database is aliases kept for old systems.
REGIONS = (
    *("Africa", "America", "Antarctica", "Arctic", "Asia"),
    *("Atlantic", "Australia", "Europe", "Indian", "Pacific"),
)


class AuditedForm(forms.ModelForm):
    """Writes only the fields that were changed, and what they were into the audit trail, or neither."""

    def save_changes(self, action: str, request: HttpRequest, actor: User, account: Account) -> bool:
        """Save a valid form; False when nothing is different from what is stored."""
        with transaction.atomic():
            stored = type(self.instance)._default_manager.select_for_update().get(pk=self.instance.pk)
            changed = [n for n in self.fields if getattr(stored, n) != self.cleaned_data[n]]
            if not changed:
                return False
            before = {name: getattr(stored, name) for name in changed}
            after = {name: self.cleaned_data[name] for name in changed}
            self.instance.save(update_fields=changed)
            audit.write(
                action, actor=actor, account=account, subject=str(stored), before=before, after=after,
                request=request,
            )  # fmt: skip
        return True


class ProfileForm(AuditedForm):
    class Meta:
        model = User
        fields = ("name",)
        labels = {"name": "Your name"}
        help_texts = {"name": "How the members of your accounts see you."}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"})}


class AccountForm(AuditedForm):
    """Name, time zone and currency of an account.

    Args:
        currencies: (code, name) of each currency that amounts can be shown in.
    """

    class Meta:
        model = Account
        fields = ("name", "time_zone", "currency")
        labels = {"name": "Account name", "time_zone": "Time zone", "currency": "Currency"}
        error_messages = {"name": {"required": "Enter a name for the account."}}
        help_texts = {
            "time_zone": "Decides on which day and in which month a record counts. "
            "What was recorded before keeps its day.",
            "currency": "Shown beside US dollars.",
        }
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "organization"}),
            "time_zone": forms.Select,
            "currency": forms.Select,
        }

    def __init__(self, *args: object, currencies: list[tuple[str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        account = self.instance
        known = [code for code, _ in currencies]
        extra = [] if account.currency in known else [(account.currency, account.currency)]
        self.fields["currency"] = self._choices("currency", currencies + extra)
        zones = zone_choices()
        if not any(account.time_zone == zone for _, group in zones for zone, _ in group):
            zones = [("Now", [(account.time_zone, account.time_zone)]), *zones]
        self.fields["time_zone"] = self._choices("time_zone", zones)

    def _choices(self, name: str, choices: list) -> forms.ChoiceField:
        field = self.fields[name]
        return forms.ChoiceField(
            choices=choices, label=field.label, help_text=field.help_text, initial=field.initial
        )


class NewAccountForm(AccountForm):
    """A business account that is opened.

    Args:
        alike: the account whose time zone and currency stand there first.
    """

    def __init__(self, *args: object, alike: Account, currencies: list[tuple[str, str]]) -> None:
        new = Account(time_zone=alike.time_zone, currency=alike.currency)
        super().__init__(*args, instance=new, currencies=currencies)
        self.fields["time_zone"].help_text = "Decides on which day and in which month a record counts."


ROLE_TEXTS = {
    Member.Role.OWNER: "Owner – everything, also deleting the account",
    Member.Role.ADMIN: "Admin – settings, keys and people, but no owners",
    Member.Role.MEMBER: "Member – sees usage and cost",
}


def role_choices(own: str) -> list[tuple[str, str]]:
    """The roles that somebody with this role may give, in words; the least first."""
    return [(role, ROLE_TEXTS[Member.Role(role)]) for role in reversed(ROLES_GIVEN_BY[own])]


class InvitationForm(forms.Form):
    """Whom to invite, and as what.

    Args:
        own: the role of who invites.
    """

    email = forms.EmailField(
        label="E-mail",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Enter an e-mail.", "invalid": "That is not an e-mail address."},
    )

    def __init__(self, *args: object, own: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["role"] = forms.ChoiceField(
            label="Role", choices=role_choices(own), initial=Member.Role.MEMBER
        )


class RoleForm(forms.Form):
    """Which role a member has from now on."""

    def __init__(self, *args: object, own: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["role"] = forms.ChoiceField(label="Role", choices=role_choices(own))


class DeletionForm(forms.Form):
    """The account's name, typed to be sure."""

    name = forms.CharField(
        label="Type the account’s name",
        max_length=200,
        strip=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Type the name of the account."},
    )


@lru_cache(maxsize=1)
def zone_choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """Time zones by region, as a select shows them: UTC first, then Africa/Abidjan and so on"""
    groups: dict[str, list[tuple[str, str]]] = {region: [] for region in REGIONS}
    for zone in sorted(available_timezones()):
        region, _, place = zone.partition("/")
        if region in groups and place:
            groups[region].append((zone, zone.replace("_", " ")))
    return [("Everywhere", [("UTC", "UTC")]), *groups.items()]
