"""Pages that ask before something is done that cannot be undone: revoke, delete, reverse."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from accounts import audit
from accounts.admin.display import page_of


@dataclass(frozen=True, slots=True)
class Act:
    """What such a page says: the question, what it means, the facts, and the button."""

    title: str
    text: str
    submit: str
    facts: list[tuple[str, object]] = field(default_factory=list)
    dangerous: bool = False


def act_page(
    model_admin: ModelAdmin, request: HttpRequest, obj: Any, act: Act, form: forms.Form, back: str = ""
) -> TemplateResponse:
    """The page that asks; a GET shows it, and a POST whose form is wrong shows it again.

    Args:
        obj: what is acted on; None when it is several things or none yet.
        back: where Cancel leads, by default to the page of `obj`.
    """
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": obj,
        "back": back or page_of(obj),
        "title": act.title,
        "act": act,
        "form": form,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/act.html", context, status=200)


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done once it is confirmed, and what is said of it.

    Args:
        do: does it in the transaction that also writes the audit entry; False when somebody else has.
        action: of the audit entry.
    """

    do: Callable[[], bool]
    action: str
    done: str
    done_before: str


def asked_first(
    model_admin: ModelAdmin, request: HttpRequest, obj: Any, act: Act, deed: Deed, form: forms.Form
) -> HttpResponse:
    """The page that asks for a reason; confirmed, the deed is done and written into the audit trail."""
    if request.method != "POST" or not form.is_valid():
        return act_page(model_admin, request, obj, act, form)
    with transaction.atomic():
        is_done = deed.do()
        if is_done:
            audit.write(
                deed.action,
                actor=request.user,  # type: ignore[arg-type]
                account=getattr(obj, "account", None),
                subject=str(obj),
                reason=form.cleaned_data["reason"],
                request=request,
            )
    if is_done:
        messages.success(request, deed.done)
    else:
        messages.warning(request, deed.done_before)
    return HttpResponseRedirect(page_of(obj))


CONFIRMED = "confirmed"


def carry(form: forms.Form, action: str, ids: list[str]) -> None:
    """Let the page that asks about ticked rows of a list send them again, with CONFIRMED."""
    for name, value in (("action", action), (CONFIRMED, "yes")):
        form.fields[name] = forms.CharField(required=False, widget=forms.HiddenInput, initial=value)
    # Any ids are taken: which rows they are, and whether they may be, is asked again when they come back.
    ticked = forms.Field(required=False, widget=forms.MultipleHiddenInput, initial=ids)
    form.fields[ACTION_CHECKBOX_NAME] = ticked


def known_id(object_id: Any) -> int:
    """The primary key in an address; 0, which no row has, when it is none."""
    text = str(object_id)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def object_or_404(model_admin: ModelAdmin, request: HttpRequest, object_id: str) -> Any:
    """The object that an action's address names, if this user may see it."""
    obj = model_admin.get_object(request, unquote(object_id))
    if obj is None or not model_admin.has_view_permission(request, obj):
        raise Http404(f"There is no {model_admin.opts.verbose_name} {object_id!r}.")
    return obj
