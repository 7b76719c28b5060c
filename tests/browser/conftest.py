"""Chromium from the machine, a live server, and a page that reports what went wrong in it."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.cached_db import SessionStore
from playwright.sync_api import Browser, BrowserContext, Page

from accounts.authentication import CURRENT_ACCOUNT
from accounts.models import Account, User
from tests.conftest import Api

# Playwright's synchronous interface runs inside an event loop, where Django refuses to
# touch the database; here nothing else waits on that loop.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

ANSWERED_WITHIN_S = 2.0
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict:
    return {
        "executable_path": shutil.which("chromium"),
        "args": ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    }


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, live_server) -> Iterator[Visit]:
    """Open a page as somebody, on some screen; afterwards nothing may have gone wrong in any of them.

    Wrong is: an error or warning in the console, a script that fails, a request to another host.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_page(path: str, user: User | None = None, account: Account | None = None, **options) -> Page:
        context = browser.new_context(base_url=live_server.url, **{"viewport": DESKTOP, **options})
        contexts.append(context)
        if user is not None:
            key = session_key(user, account)
            context.add_cookies([{"name": "sessionid", "value": key, "url": live_server.url}])
        page = context.new_page()
        watch(page, urlsplit(live_server.url).netloc, wrong)
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    wait_until_answered()
    assert wrong == []


def wait_until_answered() -> None:
    """Let the server finish what a closed page still asked for, before the database is emptied under it."""
    deadline = time.monotonic() + ANSWERED_WITHIN_S
    while time.monotonic() < deadline:
        if not any("process_request_thread" in thread.name for thread in threading.enumerate()):
            return
        time.sleep(0.02)


def watch(page: Page, own_host: str, wrong: list[str]) -> None:
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: wrong.append(r.url) if urlsplit(r.url).netloc != own_host else None)


def session_key(user: User, account: Account | None) -> str:
    """Signed in without the door, which has tests of its own."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    if account is not None:
        session[CURRENT_ACCOUNT] = account.pk
    session.save()
    return session.session_key or ""


@pytest.fixture
def busy_acme(acme: Account, service_api: Api) -> Account:
    """Acme with a record of every kind that a page shows differently."""
    call = {"account": acme.public_id, "provider": "google", "model": "gemini-2.0-flash"}
    known = {**call, "operation": "text_analysis", "quantities": {"input_images": 1, "output_tokens": 500}}
    service_api.post(
        "usage/",
        [
            {**known, "latency_ms": 812, "reference": "gen-1"},
            {**known, "status": "error", "latency_ms": 30_000},
            {**known, "status": "rate_limited"},
            {**call, "operation": "text_analysis", "characters": 2003},
            {**call, "operation": "text_analysis", "quantities": {"output_tokens": 5, "pages": 1}},
            {**call, "operation": "never_seen_before", "model": "m" * 128, "provider": "p" * 64},
            {**call, "operation": "file_upload", "quantities": {"bytes": "999999999999.5"}},
            {"account": acme.public_id, "operation": "ai_response", "quantities": {"tokens": "10000000000"}},
        ],
    )
    return acme
