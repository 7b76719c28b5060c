"""What allauth asks of us: users, mail, addresses of clients, and what goes into the audit trail."""

import logging
from functools import partial
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse

from accounts import sign_in_trail
from accounts.client_address import client_address
from accounts.email_addresses import SIGNS_UP
from accounts.models import User
from accounts.sessions import UNKNOWN_ADDRESS

logger = logging.getLogger("tollgate.mail")
WRONG_CODE = "That code is not right. Check it and try again."


class AccountAdapter(DefaultAccountAdapter):
    """Every page is a page, every mail is ours, and every act leaves an entry."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "That e-mail and password do not match. Check both and try again.",
        "enter_current_password": "That is not your current password.",
        "incorrect_code": WRONG_CODE,
        "incorrect_password": "That is not your password.",
        "too_many_login_attempts": "Too many tries. Wait a few minutes, then try again.",
        "rate_limited": "Too many tries. Wait a moment, then try again.",
    }

    def is_ajax(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request) or UNKNOWN_ADDRESS

    def new_user(self, request: HttpRequest) -> User:
        user = User()
        setattr(user, SIGNS_UP, True)
        return user

    def save_user(self, request: HttpRequest, user: Any, form: Any, commit: bool = True) -> User:
        """Make a user with their personal account and the entry that they signed up, or nothing."""
        super().save_user(request, user, form, commit=False)
        with transaction.atomic():
            user.save()
            sign_in_trail.write("user.signed_up", user, request)
        return user

    def confirm_email(self, request: HttpRequest, email_address: Any) -> bool:
        with transaction.atomic():
            return super().confirm_email(request, email_address)

    def set_password(self, user: Any, password: str) -> None:
        """Change or reset a password, with its entry or not at all."""
        user.set_password(password)  # slow on purpose, so before the transaction
        request = self.request
        by_mail = request is None or not request.user.is_authenticated
        with transaction.atomic():
            user.save(update_fields=["password"])
            sign_in_trail.write("user.password_reset" if by_mail else "user.password_changed", user, request)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        sign_in_trail.password_refused(request, credentials.get("email", ""))

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        return redirect("account_login")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("settings_security")

    def get_reset_password_from_key_url(self, key: str) -> str:
        """A link to where people reach us: never to a host that a request names."""
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return settings.BASE_URL + path.replace("UID-KEY", key)

    def render_mail(
        self, template_prefix: str, email: str | list[str], context: dict[str, Any], headers: Any = None
    ) -> EmailMultiAlternatives:
        """A mail whose HTML says the same as its text: a paragraph each, a link or the code set apart."""
        context = {**context, "base_url": settings.BASE_URL}
        subject = render_to_string(f"{template_prefix}_subject.txt", context).strip()
        text = render_to_string(f"{template_prefix}_message.txt", context).strip()
        parts = [part.strip() for part in text.split("\n\n") if part.strip()]
        look = {"subject": subject, "parts": parts, "code": context.get("code", "")}
        message = EmailMultiAlternatives(
            subject, text + "\n", self.get_from_email(), [email] if isinstance(email, str) else email,
            headers=headers,
        )  # fmt: skip
        message.attach_alternative(render_to_string("account/email/letter.html", look), "text/html")
        return message

    def send_mail(self, template_prefix: str, email: str, context: dict) -> None:
        """Send what somebody waits for; where that fails they are told, and may try again.

        Raises:
            ImmediateHttpResponse: a page that says so.
        """
        message = self.render_mail(template_prefix, email, {"email": email, **context})
        try:
            message.send()
        except OSError as error:  # every error of smtplib is one
            logger.exception("%s could not be sent", template_prefix)
            page = render(self.request, "accounts/mail_failed.html", status=503)
            page["Retry-After"] = "60"
            raise ImmediateHttpResponse(page) from error

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """Tell a user what was changed, once it is; without the mail it is changed all the same."""
        transaction.on_commit(partial(self._notify, *args, **kwargs))

    def _notify(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().send_notification_mail(*args, **kwargs)
        except ImmediateHttpResponse:
            logger.warning("nobody was told of %s", args[0])


class TwoStepAdapter(DefaultMFAAdapter):
    error_messages = {**DefaultMFAAdapter.error_messages, "incorrect_code": WRONG_CODE}
