"""Forms that show what they would do before they do it: a page between the form and saving."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.utils import unquote
from django.forms import ModelForm
from django.forms.formsets import all_valid
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.admin.acts import CONFIRMED

CHANGE_AGAIN = "_change_again"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know before saving. Tones: bad, warn, good, plain."""

    tone: str
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Figures; the first `words` columns are words, the others stand on their right edge."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[object]]
    words: int = 1
    foot: Sequence[object] = ()
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What such a page says."""

    title: str
    text: str
    submit: str
    remarks: Sequence[Remark] = ()
    facts: Sequence[tuple[str, object]] = ()
    tables: Sequence[Table] = field(default_factory=list)


class ShownAgain:
    """A form that came back from its preview to be changed: what was typed, and no errors yet."""

    def is_valid(self) -> bool:
        return False


class PreviewedFirst:
    """An admin whose form is saved from its preview.

    Whatever was posted is carried by the preview's page and validated again when it comes back, so
    that nothing is saved which the form would refuse by then.
    """

    def preview_of(self, request: HttpRequest, form: ModelForm, formsets: list[Any]) -> Preview | None:
        """What a valid form would do; None when there is nothing to show, and it is saved at once."""
        raise NotImplementedError

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        return type(form.__name__, (ShownAgain, form), {}) if CHANGE_AGAIN in request.POST else form

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if request.method == "POST" and not {CONFIRMED, CHANGE_AGAIN} & request.POST.keys():
            page = self._preview_page(request, object_id)
            if page is not None:
                return page
        return super().changeform_view(request, object_id, form_url, extra_context)  # type: ignore[misc]

    def _preview_page(self, request: HttpRequest, object_id: Any) -> HttpResponse | None:
        """The preview of what was posted; None when the form itself has to answer."""
        model_admin: Any = self
        obj = model_admin.get_object(request, unquote(object_id)) if object_id else None
        may = (
            model_admin.has_change_permission(request, obj)
            if object_id
            else model_admin.has_add_permission(request)
        )
        if not may or (object_id and obj is None):
            return None
        form = model_admin.get_form(request, obj, change=obj is not None)(
            request.POST, request.FILES, instance=obj
        )
        is_valid = form.is_valid()
        formsets, _ = model_admin._create_formsets(request, form.instance, change=obj is not None)
        if not all_valid(formsets) or not is_valid:
            return None
        preview = self.preview_of(request, form, formsets)
        return None if preview is None else preview_page(model_admin, request, obj, preview)


def preview_page(model_admin: Any, request: HttpRequest, obj: Any, preview: Preview) -> TemplateResponse:
    """The page, with everything that was posted."""
    names = ("csrfmiddlewaretoken", CONFIRMED, CHANGE_AGAIN)
    posted = [(name, value) for name, values in request.POST.lists() if name not in names for value in values]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": obj,
        "title": preview.title,
        "preview": preview,
        "posted": posted,
        "confirmed": CONFIRMED,
        "change_again": CHANGE_AGAIN,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/preview.html", context)
