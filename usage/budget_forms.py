"""The forms with which an account's owners and admins set, change and end a budget."""

from datetime import date, datetime, timedelta
from decimal import Decimal

from django import forms
from django.utils import timezone

from accounts.errors import Invalid
from accounts.models import Account
from usage.models import Enforcement, Meter, Quota, Scope
from usage.quotas import limits, scopes
from usage.quotas.budgets import WINDOWS, Budget

NOTE_AT_MOST = 500
COST = "spend"
SCOPES = {
    Scope.ACCOUNT: "the whole account",
    Scope.CAMPAIGN: "a campaign",
    Scope.KEY: "a key",
    Scope.MEMBER: "a member",
}
ENFORCEMENTS = {
    Enforcement.HARD: "refuse what would pass it",
    Enforcement.SOFT: "allow it, and warn",
}


class MeterField(forms.ModelChoiceField):
    """A meter by its name and the unit that its limits are written in."""

    def label_from_instance(self, obj: object) -> str:
        assert isinstance(obj, Meter)
        return f"{obj.name}, in {obj.shown_as}"


class ChangeForm(forms.Form):
    """What can be changed of a budget: the limit, what happens beyond it, until when, and why."""

    limit = forms.CharField(
        label="Limit",
        max_length=40,
        help_text="In the unit that stands beside the meter, such as 25 or 0.5; 0 allows none.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        error_messages={"required": "Write how much is allowed, such as 25."},
    )
    enforcement = forms.ChoiceField(label="Beyond the limit", choices=list(ENFORCEMENTS.items()))
    last_day = forms.DateField(
        required=False,
        label="Last day",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        error_messages={"invalid": "Write a date such as 2027-03-31."},
    )
    note = forms.CharField(
        required=False,
        max_length=NOTE_AT_MOST,
        label="Note",
        help_text="Why, for those who find it here later.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: object, account: Account, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.account = account
        self.fields[
            "last_day"
        ].help_text = f"It holds until the end of this day in {account.time_zone}. Empty: until it is ended."

    def clean_limit(self) -> Decimal:
        try:
            limit = limits.parsed(self.cleaned_data["limit"])
        except Invalid as error:
            raise forms.ValidationError("Write a number such as 100 or 0.5.") from error
        if limit is None:
            raise forms.ValidationError("A budget has a limit. To lift it, end the budget.")
        return limit

    def clean_last_day(self) -> date | None:
        day = self.cleaned_data["last_day"]
        today = timezone.now().astimezone(self.account.zone).date()
        if day is not None and not today <= day <= today.replace(year=today.year + 10, day=1):
            raise forms.ValidationError("Choose a day from today on, at most ten years ahead.")
        return day

    @property
    def ends_at(self) -> datetime | None:
        """The instant at which the last day is over."""
        day = self.cleaned_data["last_day"]
        if day is None:
            return None
        after = day + timedelta(days=1)
        return datetime(after.year, after.month, after.day, tzinfo=self.account.zone)

    def changed(self, quota: Quota) -> Budget:
        """The budget that a valid form makes of `quota`."""
        return self._budget(quota.meter, quota.scope, quota.scope_id, quota.window)

    def _budget(self, meter: Meter, scope: str, scope_id: int, window: str) -> Budget:
        values = self.cleaned_data
        return Budget(
            meter,
            values["limit"],
            scope,
            scope_id,
            window,
            values["enforcement"],
            self.ends_at,
            values["note"],
        )


class BudgetForm(ChangeForm):
    """A new budget: whose usage it limits, of what, and in which window."""

    scope = forms.ChoiceField(label="For", choices=list(SCOPES.items()))
    who = forms.CharField(
        required=False,
        max_length=254,
        label="Which one",
        help_text="The campaign's name, the beginning of the key or the member's e-mail; "
        "empty for the whole account.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "known"}),
    )
    meter = MeterField(label="Meter", queryset=Meter.objects.none(), empty_label=None)
    window = forms.ChoiceField(
        label="In each", choices=[(window.value, name) for window, name in WINDOWS.items()]
    )
    field_order = ("scope", "who", "meter", "limit", "window", "enforcement", "last_day", "note")

    def __init__(self, *args: object, account: Account, **kwargs: object) -> None:
        super().__init__(*args, account=account, **kwargs)
        field = self.fields["meter"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Meter.objects.order_by("id")
        field.to_field_name = "slug"
        field.initial = COST

    def clean(self) -> dict[str, object]:
        values = super().clean() or {}
        if "scope" in values:
            try:
                values["scope_id"] = scopes.find(
                    self.account, values["scope"], values.get("who", ""), service_keys=False
                )
            except Invalid as error:
                self.add_error("who", error.message)
        return values

    @property
    def budget(self) -> Budget:
        """What a valid form asks for."""
        values = self.cleaned_data
        return self._budget(values["meter"], values["scope"], values["scope_id"], values["window"])
