"""Forms of the pages on which an account's owners and admins make and rotate keys."""

from datetime import date, datetime, timedelta

from django import forms
from django.utils import timezone

from accounts.keys import NAME_AT_MOST
from accounts.models import SCOPES, SERVICE_ONLY_SCOPES, Account

OWN_SCOPES = {scope: meaning for scope, meaning in SCOPES.items() if scope not in SERVICE_ONLY_SCOPES}
YEARS_AT_MOST = 10
OVERLAPS = {
    0: "stops now",
    1: "works for 1 more hour",
    24: "works for 24 more hours",
    168: "works for 7 more days",
}


class ExpiringForm(forms.Form):
    """A form that asks for a key, which may end after a day of the account's own calendar."""

    begins = forms.CharField(widget=forms.HiddenInput, error_messages={"required": "This form is not whole."})
    expires_on = forms.DateField(
        required=False,
        label="Last day",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        error_messages={"invalid": "Write a date such as 2027-03-31."},
    )

    def __init__(self, *args: object, account: Account, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.account = account
        self.fields[
            "expires_on"
        ].help_text = f"It works until the end of this day in {account.time_zone}. Empty: it never expires."

    def clean_expires_on(self) -> date | None:
        day = self.cleaned_data["expires_on"]
        if day is None:
            return None
        today = timezone.now().astimezone(self.account.zone).date()
        if day < today:
            raise forms.ValidationError("This day has passed.")
        if day.year > today.year + YEARS_AT_MOST:
            raise forms.ValidationError(f"At most {YEARS_AT_MOST} years from now; or leave it empty.")
        return day

    @property
    def expires_at(self) -> datetime | None:
        """The instant at which the last day is over."""
        day = self.cleaned_data["expires_on"]
        if day is None:
            return None
        after = day + timedelta(days=1)
        return datetime(after.year, after.month, after.day, tzinfo=self.account.zone)


class NewKeyForm(ExpiringForm):
    name = forms.CharField(
        label="Name",
        max_length=NAME_AT_MOST,
        help_text="What will use it, such as: production server.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Say what will use this key."},
    )
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=list(OWN_SCOPES.items()),
        initial=list(OWN_SCOPES),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one thing that it may do."},
    )
    field_order = ("name", "scopes", "expires_on", "begins")


class RotationForm(ExpiringForm):
    """How long the old key works beside the new one."""

    overlap = forms.TypedChoiceField(
        label="The old key",
        choices=list(OVERLAPS.items()),
        coerce=int,
        initial=24,
        help_text="Long enough to give the new key to everything that uses the old one.",
    )
    field_order = ("overlap", "expires_on", "begins")

    def __init__(self, *args: object, account: Account, **kwargs: object) -> None:
        super().__init__(*args, account=account, **kwargs)
        self.fields["expires_on"].label = "Last day of the new key"
