"""Pages of the admin that ask why: whatever moves money is added, changed and deleted with a reason."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict

from accounts.admin.fields import ReasonForm


class AsksWhy:
    """A ModelAdmin whose forms, also that which deletes, ask for the reason that its audit entry keeps.

    `TollgateAdmin` writes it; what writes entries of its own takes it from `why_given`.
    """

    form: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = ReasonForm.base_fields["reason"]
        self.form = type(self.form.__name__, (self.form,), {"reason": field})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for name in super().get_fields(request, obj) if name != "reason"]  # type: ignore[misc]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.with_why(request, obj, super().get_fieldsets(request, obj))  # type: ignore[misc]

    def with_why(self, request: HttpRequest, obj: Any, shown: Any) -> Any:
        """The fieldsets with one that asks, for who may save the form."""
        may = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)  # type: ignore[attr-defined]
        return (*shown, ("Why", {"fields": ("reason",)})) if may else shown

    def save_form(self, request: HttpRequest, form: forms.ModelForm, change: bool) -> Any:
        request.why = form.cleaned_data["reason"]  # type: ignore[attr-defined]
        return super().save_form(request, form, change)  # type: ignore[misc]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            request.why = form.cleaned_data["reason"]  # type: ignore[attr-defined]
        else:
            request.POST = QueryDict()  # not confirmed yet: the page asks again
        context = {**(extra_context or {}), "reason_form": form}
        return super().delete_view(request, object_id, context)  # type: ignore[misc]


def why_given(request: HttpRequest) -> str:
    """The reason typed into the form that is being saved; empty where none is asked for."""
    return getattr(request, "why", "")
