"""Accounts and their members. An account is deleted on a page of its own, which asks why."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from accounts import lifecycle, seen_as_user
from accounts.admin import dossier
from accounts.admin.acts import Act, act_page, known_id, object_or_404
from accounts.admin.base import TollgateAdmin
from accounts.admin.display import badge, code, linked, moment_column
from accounts.admin.dossier import Fact
from accounts.admin.fields import ReasonForm, SuggestingInput
from accounts.models import Account, Member, User

lost_with_an_account: list[Callable[[Account], Iterable[Fact]]] = []
"""What the page that deletes an account counts; apps above add what they hold of it."""


COMMON_ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/London", "America/New_York"]


class AccountForm(forms.ModelForm):
    class Meta:
        model = Account
        fields = ("name", "external_id", "time_zone", "currency")
        widgets = {
            "time_zone": SuggestingInput(suggestions=COMMON_ZONES),
            "currency": SuggestingInput(suggestions=["INR", "USD", "EUR"]),
        }

    def clean_external_id(self) -> str | None:
        return self.cleaned_data["external_id"] or None


class NewAccountForm(AccountForm):
    """A business account; a personal one comes with its user."""

    owner = forms.ModelChoiceField(
        User.objects.all(), required=False, help_text="Becomes the first member, as owner. May be empty."
    )


def _takes_members(account: Account | None) -> bool:
    return account is None or account.kind == Account.Kind.BUSINESS


@admin.register(Account)
class AccountAdmin(TollgateAdmin):
    list_display = (
        "name",
        "account_id",
        "kind_shown",
        "external_id",
        "person",
        "time_zone",
        "currency",
        "opened",
    )
    list_select_related = ("person",)
    list_filter = (("kind", ChoicesDropdownFilter),)
    search_fields = ("name", "=public_id", "=external_id", "=members__user__email")
    search_help_text = "Name, account id, external id or a member's e-mail"
    actions_detail = ("see_as_user", "delete_with_reason")
    fieldsets = (
        (None, {"fields": (("name", "account_id"), ("kind_shown", "person"), "external_id")}),
        ("Shown in", {"fields": (("time_zone", "currency"),)}),
        ("When", {"fields": ("opened",)}),
    )
    add_fieldsets = (
        (
            None,
            {
                "fields": ("name", "external_id", "owner", ("time_zone", "currency")),
                "description": "A business account, on the default plan. A personal one comes with its user.",
            },
        ),
    )
    readonly_fields = ("account_id", "kind_shown", "person", "opened")

    opened = moment_column("created_at", "opened")

    @display(description="account id", ordering="public_id")
    def account_id(self, account: Account) -> str:
        return code(account.public_id)

    @display(description="kind", ordering="kind")
    def kind_shown(self, account: Account) -> str:
        return badge(account.kind)

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """The account with what each of its parts tells of it, read once for a request."""
        known = getattr(request, "its_account", None)
        if known is None or str(known.pk) != object_id:
            found = self.get_queryset(request).select_related(*dossier.related)
            known = found.filter(pk=known_id(object_id)).first()
            request.its_account = known  # type: ignore[attr-defined]
        return known

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("person")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        account = self.get_object(request, unquote(object_id)) if self.has_view_permission(request) else None
        part = dossier.part_of(request)
        context = {**(extra_context or {}), "part": part, "parts": dossier.PARTS.items()}
        if account is not None:
            # A form with a mistake changes what it edits; what is told is of what is stored.
            context["panels"] = dossier.load(part, request, copy.copy(account))
        if part != "settings":
            context |= {f"show_save{more}": False for more in ("", "_and_continue", "_and_add_another")}
            context["show_close"] = False
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        added = [
            path(f"<path:object_id>/{address}", self._page(serve), name=f"accounts_account_{name}")
            for name, (address, serve) in dossier.pages.items()
        ]
        return [*added, *super().get_urls()]

    def _page(self, serve: dossier.Serve) -> Any:
        """A page of an account that another app serves, for who may see the account."""

        def page(request: HttpRequest, object_id: str, **kwargs: Any) -> HttpResponse:
            return serve(request, object_or_404(self, request, object_id), **kwargs)

        return self.admin_site.admin_view(page)

    def account_of(self, obj: Account) -> Account:
        return obj

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(
            request, obj, change, **{**kwargs, "form": AccountForm if obj else NewAccountForm}
        )

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: Any) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        fields = {name: form.cleaned_data[name] for name in ("external_id", "time_zone", "currency")}
        opened = lifecycle.open_business_account(
            form.cleaned_data["name"], owner=form.cleaned_data["owner"], **fields
        )
        obj.__dict__.update(opened.__dict__)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never by Django's own page, which asks for no reason; see `delete_with_reason`."""
        return False

    def has_delete_with_reason_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm("accounts.delete_account")

    @action(
        description="Delete account",
        url_path="delete-account",
        permissions=["delete_with_reason"],
        icon="delete_forever",
        variant=ActionVariant.DANGER,
    )
    def delete_with_reason(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = object_or_404(self, request, object_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            lifecycle.delete_account(account, actor=request.user, reason=form.cleaned_data["reason"])  # type: ignore[arg-type]
            messages.success(request, f"The account {account.name} and its records were deleted.")
            return HttpResponseRedirect(reverse("admin:accounts_account_changelist"))
        return act_page(self, request, account, self._deletion(account), form)

    def has_see_as_user_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return seen_as_user.may_see(request.user)

    @action(
        description="See as its user", url_path="see-as-user", permissions=["see_as_user"], icon="visibility"
    )
    def see_as_user(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why, and lead to the account's pages as its owner sees them."""
        account: Account = object_or_404(self, request, object_id)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            seen_as_user.begin(request, account, form.cleaned_data["reason"])
            return HttpResponseRedirect(reverse("settings_usage"))
        minutes = int(seen_as_user.LASTS.total_seconds()) // 60
        act = Act(
            title=f"See {account.name} as its user does?",
            text=f"For {minutes} minutes the pages under Settings show this account, read-only: nothing can"
            " be recorded, changed or bought there. That you looked, and why, stays in the audit trail.",
            facts=[("Account", f"{account.name} ({account.public_id})")],
            submit="See as its user",
        )
        return act_page(self, request, account, act, form)

    @staticmethod
    def _deletion(account: Account) -> Act:
        lost: list[Fact] = [
            ("Account", f"{account.name} ({account.public_id})"),
            ("Members", f"{account.members.count():,}"),
            ("Keys", f"{account.keys.count():,}"),
        ]
        for count in lost_with_an_account:
            lost.extend(count(account))
        person = account.person
        if person is not None and not person.is_staff:
            lost.append(("User", f"{person.email}, unless they are a member of another account"))
        return Act(
            title=f"Delete {account.name}?",
            text="This removes the account with its ledger and its totals. It cannot be undone."
            " What stays is the entry in the audit trail.",
            facts=lost,
            submit="Delete account and records",
            dangerous=True,
        )


class MemberForm(forms.ModelForm):
    class Meta:
        model = Member
        fields = ("account", "user", "role")

    def clean_account(self) -> Account:
        account = self.cleaned_data["account"]
        if not _takes_members(account):
            raise forms.ValidationError("A personal account has no members besides its person.")
        return account


@admin.register(Member)
class MemberAdmin(TollgateAdmin):
    """Who belongs to which account; the person of a personal account stays its owner."""

    form = MemberForm
    list_display = ("member", "account_link", "role", "since")
    list_select_related = ("account", "user")
    list_filter = (("role", ChoicesDropdownFilter),)
    search_fields = ("user__email", "user__name", "account__name", "=account__public_id")
    search_help_text = "E-mail, name, account or account id"
    autocomplete_fields = ("account", "user")
    ordering = ("-id",)

    since = moment_column("created_at", "member since")

    @display(description="member", ordering="user__email")
    def member(self, member: Member) -> str:
        return member.user.email

    @display(description="account", ordering="account__name")
    def account_link(self, member: Member) -> str:
        return linked(member.account)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("account", "user") if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not _is_person(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not _is_person(obj) and super().has_delete_permission(request, obj)


def _is_person(member: Any) -> bool:
    return isinstance(member, Member) and member.account.person_id == member.user_id
