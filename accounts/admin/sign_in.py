"""What allauth keeps of users: verified addresses, the second step, sessions."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import badge, linked, moment_column
from accounts.admin.paging import CappedList
from accounts.models import Account
from accounts.sessions import close, device_of

for model in (EmailAddress, Authenticator, UserSession):
    admin.site.unregister(model)  # allauth's own pages are not in our look


class OfAUser(CappedList, TollgateAdmin):
    """Rows of a user that allauth writes."""

    list_select_related = ("user",)
    search_fields: tuple[str, ...] = ("user__email", "user__name")
    search_help_text = "E-mail or name of the user"
    ordering = ("-id",)

    @display(description="user", ordering="user__email")
    def whose(self, row: Any) -> str:
        return linked(row.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As with the user's own page: only a superuser touches what guards the staff."""
        above = (
            obj is not None
            and (obj.user.is_staff or obj.user.is_superuser)
            and obj.user_id != request.user.pk
        )
        may = super().has_delete_permission(request, obj)
        return may and (bool(getattr(request.user, "is_superuser", False)) or not above)

    def account_of(self, obj: Any) -> Account | None:
        return Account.objects.filter(person=obj.user).first()


@admin.register(EmailAddress)
class EmailAddressAdmin(ViewOnly, OfAUser):
    """One for each user: changing the user's e-mail, on their page, changes it and counts it as verified."""

    list_display = ("email", "whose", "state")
    list_filter = ("verified",)
    search_fields = ("email", "user__name")
    search_help_text = "E-mail, or name of the user"
    fieldsets = ((None, {"fields": (("email", "state"), "whose")}),)

    @display(description="state", ordering="verified")
    def state(self, row: EmailAddress) -> str:
        return badge("verified", "good") if row.verified else badge("waits for its code", "warn")


@admin.register(Authenticator)
class AuthenticatorAdmin(OfAUser):
    """The second step. Its secrets are shown to nobody; who lost the phone has it deleted here."""

    list_display = ("kind", "whose", "added", "used")
    list_filter = ("type",)
    fieldsets = ((None, {"fields": (("kind", "whose"), ("added", "used"))}),)
    empty_text = "Users turn on two-step sign-in by themselves."

    added = moment_column("created_at", "since")
    used = moment_column("last_used_at", "last used")

    @display(description="kind", ordering="type")
    def kind(self, row: Authenticator) -> str:
        return badge("authenticator app" if row.type == Authenticator.Type.TOTP else "recovery codes")

    def delete_model(self, request: HttpRequest, obj: Authenticator) -> None:
        """The codes of an app that is gone go with it; that it is turned off, the sign-in trail writes."""
        if obj.type != Authenticator.Type.TOTP:
            super().delete_model(request, obj)
            return
        obj.delete()
        Authenticator.objects.filter(user=obj.user, type=Authenticator.Type.RECOVERY_CODES).delete()


@admin.register(UserSession)
class UserSessionAdmin(OfAUser):
    """Deleting one signs that browser out."""

    list_display = ("device", "whose", "ip", "opened", "seen")
    search_fields = ("user__email", "user__name", "=ip")
    search_help_text = "E-mail or name of the user, or an address"
    fieldsets = ((None, {"fields": (("device", "whose"), ("ip", "user_agent"), ("opened", "seen"))}),)

    opened = moment_column("created_at", "signed in")
    seen = moment_column("last_seen_at", "last seen")

    @display(description="browser")
    def device(self, row: UserSession) -> str:
        return device_of(row.user_agent)

    def delete_model(self, request: HttpRequest, obj: UserSession) -> None:
        super().delete_model(request, obj)
        close([obj.session_key])
