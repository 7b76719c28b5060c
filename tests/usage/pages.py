"""How tests sign people in to an account's pages, read them, follow their links and fill in their forms."""

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


def words(page: Any) -> str:
    """A page, or an answer that is one, as it reads: no tags, single spaces."""
    html = page if isinstance(page, str) else page.content.decode()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).replace("\N{NO-BREAK SPACE}", " ").split())


def opened(client: Client, path: str) -> str:
    """The markup of a page that is there."""
    answer = client.get(path, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def link(html: str, name: str) -> str:
    """Where the link that reads so, or is called so, leads."""
    for attributes, content in re.findall(r"<a ([^>]*)>(.*?)</a>", html, re.DOTALL):
        labels = [unescape(found) for found in re.findall(r'aria-label="([^"]*)"', attributes)]
        if name in (words(content), *labels):
            href = re.search(r'href="([^"]*)"', attributes)
            assert href is not None
            return unescape(href[1])
    raise AssertionError(f"no link {name!r}")


def hidden(client: Client, path: str, name: str) -> str:
    """The value of a hidden field of a page's form."""
    html = client.get(path).content.decode()
    found = re.search(rf'name="{name}" value="([^"]+)"', html)
    assert found is not None, html
    return unescape(found[1])
