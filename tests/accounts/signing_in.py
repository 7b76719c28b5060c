"""What tests do at the door: read the mail, make an app's code, sign in."""

import base64
import hashlib
import hmac
import re
import struct
import time
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.core import mail
from django.test import Client

from accounts.models import User

LOGIN = "/accounts/login/"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def sign_in(client: Client, email: str, password: str = "correct horse", **more: Any) -> Any:
    return client.post(LOGIN, {"login": email, "password": password, **more})


def app_code(secret: str = SECRET, at: float | None = None) -> str:
    """The code that an authenticator app shows (RFC 6238), computed apart from the product."""
    counter = int(time.time() if at is None else at) // 30
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", counter), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


def lasting_app_code(secret: str) -> str:
    """A code with time enough left for a browser to type and send it; near its end, the next one."""
    left = 30 - time.time() % 30
    if left < 10:
        time.sleep(left)
    return app_code(secret)


def turn_on_two_step(user: User) -> list[str]:
    """Two-step sign-in with a known secret; the recovery codes."""
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": SECRET})
    return RecoveryCodes.activate(user).generate_codes()


def mailed_code(address: str) -> str:
    """The code in the newest mail to an address."""
    found = re.search(r"^([A-Z]{4}-[A-Z]{4})$", newest_mail(address).body, re.MULTILINE)
    assert found is not None
    return found[1]


def mailed_link(address: str) -> str:
    """The path of the link with which a new password is chosen."""
    found = re.search(r"https?://[^/\s]+(/accounts/password/reset/key/\S+)", newest_mail(address).body)
    assert found is not None
    return found[1]


def newest_mail(address: str) -> Any:
    return [message for message in mail.outbox if message.to == [address]][-1]


def confirm_it_is_me(client: Client, password: str = "correct horse") -> None:
    """Pass the page that comes before what guards an account."""
    answer = client.post("/accounts/reauthenticate/", {"password": password})
    assert answer.status_code == 302
