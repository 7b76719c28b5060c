"""Forms of signing up and in: allauth's, with our words, and each mistake said at its field."""

import time
from datetime import UTC, datetime
from typing import Any

from allauth.account import forms as account_forms
from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.signup import prevent_enumeration
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from django import forms
from django.core.validators import MaxLengthValidator
from django.db import IntegrityError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import User

EMAIL_MISSING = {"required": "Enter your e-mail.", "invalid": "That is not an e-mail address."}
EMAIL_AT_MOST = 254
PASSWORD_HELP = "At least 8 characters, and not one that is easy to guess."


def plain(
    form: forms.Form, name: str, label: str, *, missing: str = "", help_text: str = "", **attrs: Any
) -> None:
    """Our label and words on a field of allauth's, without its placeholder."""
    field = form.fields[name]
    field.label, field.help_text = label, help_text
    field.widget.attrs.pop("placeholder", None)
    field.widget.attrs.update(attrs)
    if missing:
        field.error_messages["required"] = missing


def plain_email(form: forms.Form, name: str, **attrs: Any) -> None:
    plain(form, name, "E-mail", **attrs)
    form.fields[name].widget.attrs["spellcheck"] = "false"
    field = form.fields[name]
    field.error_messages.update(EMAIL_MISSING)
    field.validators.append(MaxLengthValidator(EMAIL_AT_MOST))
    field.widget.attrs["maxlength"] = str(EMAIL_AT_MOST)


class SignInForm(account_forms.LoginForm):
    """E-mail and password. Says the same whether the address is known or not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain_email(self, "login", autocomplete="username", autofocus=True)
        plain(self, "password", "Password", missing="Enter your password.")


class SignUpForm(account_forms.SignupForm):
    """Whether an address is taken is told only by mail, to whom it belongs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain_email(self, "email", autocomplete="username", autofocus=True)
        plain(self, "password1", "Password", missing="Enter a password.", help_text=PASSWORD_HELP)

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        if self.account_already_exists:
            User().set_password(
                self.cleaned_data["password1"]
            )  # takes as long as when there is somebody to make
        try:
            return super().try_save(request)
        except IntegrityError:  # signed up with the same address a moment ago
            return None, prevent_enumeration(request, email=self.cleaned_data["email"])


class CodeForm(forms.Form):
    """Mixin: one code, typed or pasted."""

    code_label = "Code"
    code_help = ""
    code_attrs: dict[str, str] = {"inputmode": "numeric"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        attrs = {"autocomplete": "one-time-code", "spellcheck": "false", **self.code_attrs}
        plain(
            self, "code", self.code_label, missing="Enter the code.", help_text=self.code_help,
            autofocus=True, **attrs,
        )  # fmt: skip


class EmailCodeForm(CodeForm, account_forms.ConfirmEmailVerificationCodeForm):
    code_attrs = {"autocapitalize": "characters"}


class AppCodeForm(CodeForm, ActivateTOTPForm):
    code_label = "Code from the app"


class OncePerCode:
    """Mixin: a code of an app is good once, in all processes.

    allauth remembers used codes in the cache, which each process may have of its own; the row is everybody's.
    A code is good for its own half minute only, so whoever used one in it has to wait for the next.
    """

    def clean_code(self) -> str:
        code = super().clean_code()  # type: ignore[misc]
        authenticator: Authenticator = self.authenticator  # type: ignore[attr-defined]
        if authenticator.type == Authenticator.Type.TOTP:
            period = mfa_settings.TOTP_PERIOD
            began = datetime.fromtimestamp(int(time.time()) // period * period, UTC)
            unused = Q(last_used_at=None) | Q(last_used_at__lt=began)
            if not Authenticator.objects.filter(unused, pk=authenticator.pk).update(
                last_used_at=timezone.now()
            ):
                raise get_adapter().validation_error("incorrect_code")
        return code


class SecondStepForm(CodeForm, OncePerCode, mfa_forms.AuthenticateForm):
    code_help = "Six digits from your app, or one of your recovery codes."


class SecondStepAgainForm(CodeForm, OncePerCode, mfa_forms.ReauthenticateForm):
    code_help = "Six digits from your app, or one of your recovery codes."


class PasswordAgainForm(account_forms.ReauthenticateForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain(self, "password", "Password", missing="Enter your password.", autofocus=True)


class ResetForm(account_forms.ResetPasswordForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain_email(self, "email", autocomplete="username", autofocus=True)


class TwiceMixin(forms.Form):
    """Mixin: a new password, typed twice because it is not seen."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain(self, "password1", "New password", missing="Enter a new password.", help_text=PASSWORD_HELP)
        plain(self, "password2", "New password again", missing="Enter it once more.")


class NewPasswordForm(TwiceMixin, account_forms.ResetPasswordKeyForm):
    """After a link from a mail."""


class SetPasswordForm(TwiceMixin, account_forms.SetPasswordForm):
    """Of somebody who has none yet."""


class ChangePasswordForm(TwiceMixin, account_forms.ChangePasswordForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain(self, "oldpassword", "Current password", missing="Enter your current password.", autofocus=True)
