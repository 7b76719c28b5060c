"""How tests sign people in to an account's pages, read them, and fill in their forms."""

import re
from html import unescape
from typing import Any

from django.test import Client

from accounts.models import Account, User


def browser(user: User, account: Account, **options: Any) -> Client:
    """A browser in which somebody works in an account."""
    client = Client(**options)
    client.force_login(user)
    client.post("/accounts/switch/", {"account": account.public_id})
    return client


def words(answer: Any) -> str:
    """An answer as it reads: no tags, single spaces."""
    text = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return " ".join(unescape(text).replace("\N{NO-BREAK SPACE}", " ").split())


def hidden(client: Client, path: str, name: str) -> str:
    """The value of a hidden field of a page's form."""
    html = client.get(path).content.decode()
    found = re.search(rf'name="{name}" value="([^"]+)"', html)
    assert found is not None, html
    return unescape(found[1])
