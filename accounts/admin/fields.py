"""Form fields that the admin of every app uses."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import DATETIME_CLASSES, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

REASON_AT_MOST = 2_000


class UtcDateTimeWidget(forms.SplitDateTimeWidget):
    """A date and a time in UTC, whatever the server's own zone is, by the browser's own pickers."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        classes = {"class": " ".join(DATETIME_CLASSES)}
        super().__init__(
            attrs,
            date_format="%Y-%m-%d",
            time_format="%H:%M",
            date_attrs={**classes, "type": "date", "aria-label": "Date (UTC)"},
            time_attrs={**classes, "type": "time", "aria-label": "Time (UTC)"},
        )

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        fields = super().render(name, value, attrs, renderer)
        return format_html('<div class="tg-instant">{}<span class="tg-note">UTC</span></div>', fields)

    def decompress(self, value: datetime | None) -> Any:
        with timezone.override(UTC):
            return super().decompress(value)


class UtcDateTimeField(forms.SplitDateTimeField):
    """An instant that is typed in UTC; the time may be left out and is then 00:00."""

    widget = UtcDateTimeWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"require_all_fields": False, **kwargs})
        self.fields[0].required = self.required
        self.fields[1].required = False

    def compress(self, data_list: Any) -> datetime | None:
        if data_list and data_list[0] and len(data_list) > 1 and data_list[1] in self.empty_values:
            data_list = [data_list[0], datetime.min.time()]
        with timezone.override(UTC):
            return super().compress(data_list)


class SuggestingInput(UnfoldAdminTextInputWidget):
    """A text field that suggests what is known already, and takes anything.

    Args:
        suggestions: an iterable, which is only read when the field is shown.
    """

    def __init__(self, attrs: dict[str, Any] | None = None, suggestions: Iterable[str] = ()) -> None:
        super().__init__(attrs)
        self.suggestions = suggestions

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        field = super().render(name, value, {**(attrs or {}), "list": f"known-{name}"}, renderer)
        options = format_html_join(
            "", '<option value="{}"></option>', ((known,) for known in self.suggestions)
        )
        return format_html('{}<datalist id="known-{}">{}</datalist>', field, name, options)


class ReasonForm(forms.Form):
    """Asks why; what is typed is kept in the audit trail."""

    reason = forms.CharField(
        max_length=REASON_AT_MOST,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Kept in the audit trail.",
        error_messages={"required": "Say why; the reason is kept."},
    )


class OptionalReasonForm(ReasonForm):
    """The reason may be left out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = False
