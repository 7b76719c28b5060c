"""What signing in and its safety leave in the audit trail, under the user's personal account.

Who tries an address that nobody has leaves nothing: that would let anybody fill the table.
Tries for a known one are limited by allauth before they come here.
"""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.signals import email_confirmed, user_logged_in
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from django.contrib.auth.signals import user_logged_out
from django.db import connection
from django.db.models import QuerySet
from django.db.models.signals import post_delete, post_save, pre_save
from django.http import HttpRequest
from django.shortcuts import redirect

from accounts import audit
from accounts.models import Account, AuditEntry, User

TOTP, RECOVERY_CODES = Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES


def write(action: str, user: User, request: HttpRequest | None, **more: Any) -> AuditEntry:
    """Add an entry about a user's own way in."""
    personal = Account.objects.filter(person=user).first()
    return audit.write(action, actor=user, account=personal, subject=user.email, request=request, **more)


def connect() -> None:
    user_logged_in.connect(_signed_in, dispatch_uid="trail_signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="trail_signed_out")
    email_confirmed.connect(_verified, dispatch_uid="trail_verified")
    authentication_failed.connect(_code_refused, dispatch_uid="trail_code_refused")
    pre_save.connect(_only_one_of_a_kind, sender=Authenticator, dispatch_uid="one_authenticator")
    post_save.connect(_authenticator_saved, sender=Authenticator, dispatch_uid="trail_authenticator_saved")
    post_delete.connect(_authenticator_gone, sender=Authenticator, dispatch_uid="trail_authenticator_gone")


def password_refused(request: HttpRequest, email: str) -> None:
    user = User.objects.filter(email=email).first()
    if user is not None:
        write("user.sign_in_failed", user, request, reason="wrong password")


def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    write("user.signed_in", user, request)


def _signed_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        write("user.signed_out", user, request)


def _verified(request: HttpRequest, email_address: EmailAddress, **_: Any) -> None:
    write("user.email_verified", email_address.user, request)


def _code_refused(request: HttpRequest, user: User, reauthentication: bool, **_: Any) -> None:
    write("user.sign_in_failed", user, request, reason="wrong code")


def _only_one_of_a_kind(instance: Authenticator, raw: bool = False, **_: Any) -> None:
    """Whoever turns it on in two browsers at once has one of them; allauth's own rule is not MariaDB's.

    It is added within a transaction, so the second waits here for the first.
    """
    if raw or not instance._state.adding:
        return
    if connection.in_atomic_block:
        User.objects.select_for_update().get(pk=instance.user_id)
    if Authenticator.objects.filter(user_id=instance.user_id, type=instance.type).exists():
        raise ImmediateHttpResponse(redirect("settings_security"))


def _authenticator_saved(instance: Authenticator, created: bool, raw: bool = False, **_: Any) -> None:
    """In the transaction that saves it; when a code was used is not news, its sign-in is."""
    if raw or not created:
        return
    action = "two_step.turned_on" if instance.type == TOTP else "recovery_codes.made"
    write(action, instance.user, context.request)


def _authenticator_gone(instance: Authenticator, origin: Any = None, **_: Any) -> None:
    """Not when it goes with its user, nor for recovery codes that make room for new ones."""
    removed = isinstance(origin, Authenticator) or (
        isinstance(origin, QuerySet) and origin.model is Authenticator
    )
    if removed and instance.type == TOTP:
        request = context.request
        actor = getattr(request, "user", None) if request is not None else None
        personal = Account.objects.filter(person=instance.user).first()
        audit.write(
            "two_step.turned_off",
            actor=actor if isinstance(actor, User) else "command line",
            account=personal,
            subject=instance.user.email,
            request=request,
        )
