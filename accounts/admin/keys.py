"""API keys: made, rotated and revoked here. The key itself is shown once, on the page that answers."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from accounts import audit, keys
from accounts.admin.acts import Act, act_page, known_id, object_or_404
from accounts.admin.base import TollgateAdmin
from accounts.admin.display import Shown, badge, code, linked, moment, moment_column, page_of
from accounts.admin.fields import OptionalReasonForm, UtcDateTimeField
from accounts.errors import Invalid
from accounts.keys import LIMITS, described
from accounts.models import SCOPES, SERVICE_ONLY_SCOPES, Account, Key

KEY_STATES = {"active": "good", "expired": "warn", "revoked": "bad"}
OVERLAPS = {
    0: "none: the old key stops now",
    1: "1 hour",
    24: "1 day",
    24 * 7: "7 days",
    24 * 30: "30 days",
}


def key_state(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "active" if key.is_usable() else "expired"


def state_badge(key: Key) -> str:
    state = key_state(key)
    return badge(state, KEY_STATES[state])


class NewKeyForm(forms.ModelForm):
    """An account's key, or a service key when no account is chosen."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {meaning}") for scope, meaning in SCOPES.items()],
        initial=[scope for scope in SCOPES if scope not in SERVICE_ONLY_SCOPES],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    expires_at = UtcDateTimeField(required=False, label="Expires", help_text="In UTC. Empty: never.")

    class Meta:
        model = Key
        fields = ("account", "name", "scopes", "expires_at", *LIMITS)
        help_texts = {
            "account": "Whose key it is. Empty makes a service key, which acts for every account.",
            "name": "What uses it, such as: production server.",
        }

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        try:
            keys.check_scopes(values.get("scopes", []), service=values.get("account") is None)
        except Invalid as error:
            self.add_error("scopes", error.message)
        return values

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("This has passed already.")
        return expires_at


class KeyForm(forms.ModelForm):
    class Meta:
        model = Key
        fields = ("name", *LIMITS)


class RotationForm(OptionalReasonForm):
    """How long the old key still works beside the new one."""

    overlap = forms.TypedChoiceField(
        choices=list(OVERLAPS.items()),
        coerce=int,
        initial=24,
        widget=UnfoldAdminSelectWidget,
        help_text="How long the old key still works. A key that ends sooner keeps its end.",
    )
    field_order = ("overlap", "reason")


class KeyStateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in KEY_STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        expired = Q(revoked_at=None, expires_at__lte=timezone.now())
        states = {
            "revoked": Q(revoked_at__isnull=False),
            "expired": expired,
            "active": Q(revoked_at=None) & ~expired,
        }
        return queryset.filter(states.get(self.value() or "", Q()))


class KeyKindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("account", "account keys"), ("service", "service keys")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() in ("account", "service"):
            return queryset.filter(account__isnull=self.value() == "service")
        return queryset


@admin.register(Key)
class KeyAdmin(TollgateAdmin):
    """After it is made, only a key's name and limits change; every change is in the audit trail."""

    list_display = ("prefix_shown", "name", "whose", "state", "scopes_shown", "used", "expires", "made")
    list_select_related = ("account",)
    list_filter = (KeyStateFilter, KeyKindFilter)
    search_fields = (
        "prefix__startswith",
        "name",
        "account__name",
        "=account__public_id",
        "=account__external_id",
    )
    search_help_text = "Beginning of the key, name, or account"
    autocomplete_fields = ("account",)
    empty_text = "A client app needs one to send its usage."
    actions_detail = ("rotate", "revoke")
    readonly_fields = (
        *("prefix_shown", "whose", "state", "scopes_shown"),
        *("made", "maker", "used", "expires", "revoked"),
    )
    fieldsets = (
        (None, {"fields": (("prefix_shown", "state"), "name", "whose", "scopes_shown")}),
        ("Limits", {"fields": (LIMITS,)}),
        ("When", {"fields": (("made", "maker"), ("expires", "revoked"), "used")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "fields": ("account", "name", "scopes", "expires_at", LIMITS),
                "description": "The key is shown once, on the next page. Only its hash is stored.",
            },
        ),
    )

    made = moment_column("created_at", "made")
    used = moment_column("last_used_at", "last used")
    expires = moment_column("expires_at", "expires")
    revoked = moment_column("revoked_at", "revoked")

    @display(description="key", ordering="prefix")
    def prefix_shown(self, key: Key) -> str:
        return Shown.of(code(f"{key.prefix}…"), key.prefix)

    @display(description="account", ordering="account__name")
    def whose(self, key: Key) -> str:
        return linked(key.account) if key.account else "service key: every account"

    @display(description="scopes")
    def scopes_shown(self, key: Key) -> str:
        return ", ".join(key.scopes) or "none"

    @display(description="state")
    def state(self, key: Key) -> str:
        return state_badge(key)

    @display(description="made by")
    def maker(self, key: Key) -> str:
        return linked(key.created_by) if key.created_by else "–"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **{**kwargs, "form": KeyForm if obj else NewKeyForm})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.readonly_fields if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Records name the key that sent them: it is revoked, never deleted."""
        return False

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if kwargs.get("add"):
            # The next page shows the key; no other button may lead past it.
            context.update({"show_save_and_continue": False, "show_save_and_add_another": False})
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Key, form: Any, change: Any) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        values = {name: form.cleaned_data[name] for name in ("name", "scopes", "expires_at", *LIMITS)}
        made, token = keys.make_key(form.cleaned_data["account"], created_by=request.user, **values)  # type: ignore[arg-type]
        obj.__dict__.update(made.__dict__)
        obj.token_shown_once = token  # type: ignore[attr-defined]

    def write_saved(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        if change:
            super().write_saved(request, form, formsets, change)
        else:
            write(request, "key.made", form.instance, after=described(form.instance))

    def response_add(
        self, request: HttpRequest, obj: Key, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._shown_once(request, obj, obj.token_shown_once, "Key made")  # type: ignore[attr-defined]

    def _shown_once(self, request: HttpRequest, key: Key, token: str, title: str) -> HttpResponse:
        """The only page that ever shows the key: an answer to a POST, stored nowhere."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": key,
            "title": title,
            "key": key,
            "token": token,
            "key_page": page_of(key),
        }
        return TemplateResponse(request, "admin/accounts/key/made.html", context)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A service key acts for every account: only who may make one changes, rotates or revokes it."""
        may = super().has_change_permission(request, obj)
        return may and (not isinstance(obj, Key) or not obj.is_service or self.has_add_permission(request))

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if object_id is None:
            return self.has_change_permission(request)
        key = Key.objects.filter(pk=known_id(object_id), revoked_at=None).first()
        return key is not None and self.has_change_permission(request, key)

    def has_rotate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_revoke_permission(request, object_id)

    @action(description="Rotate", url_path="rotate", permissions=["rotate"], icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = object_or_404(self, request, object_id)
        form = RotationForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            hours = form.cleaned_data["overlap"]
            with transaction.atomic():
                made, token = keys.rotate(key, overlap=timedelta(hours=hours), created_by=request.user)  # type: ignore[arg-type]
                after = {**described(made), "overlap_hours": hours}
                write(request, "key.rotated", key, form.cleaned_data["reason"], after=after)
            return self._shown_once(request, made, token, "Key rotated")
        act = Act(
            title=f"Rotate {key.prefix}…?",
            text="A new key is made with the same account, name, scopes and limits, and is shown once.",
            facts=key_facts(key),
            submit="Rotate key",
        )
        return act_page(self, request, key, act, form)

    @action(
        description="Revoke",
        url_path="revoke",
        permissions=["revoke"],
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = object_or_404(self, request, object_id)
        form = OptionalReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            with transaction.atomic():
                keys.revoke(key)
                write(request, "key.revoked", key, form.cleaned_data["reason"])
            messages.success(request, f"{key.prefix}… was revoked.")
            return HttpResponseRedirect(page_of(key))
        act = Act(
            title=f"Revoke {key.prefix}…?",
            text="The key stops within 5 seconds, everywhere and for good.",
            facts=key_facts(key),
            submit="Revoke key",
            dangerous=True,
        )
        return act_page(self, request, key, act, form)


def key_facts(key: Key) -> list[tuple[str, object]]:
    whose: Account | None = key.account
    return [
        ("Key", f"{key.prefix}…"),
        ("Name", key.name or "–"),
        ("Account", str(whose) if whose else "service key: every account"),
        ("Scopes", ", ".join(key.scopes) or "none"),
        ("Last used", moment(key.last_used_at)),
    ]


def write(request: HttpRequest, action: str, key: Key, reason: str = "", after: object = None) -> None:
    audit.write(
        action,
        actor=request.user,  # type: ignore[arg-type]
        account=key.account,
        subject=str(key),
        reason=reason,
        after=after,
        request=request,
    )
