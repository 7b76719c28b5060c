"""How tests read a page."""

import re
from html import unescape

from django.test import Client


def words(html: str) -> str:
    """A page as it reads: no tags, single spaces."""
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
