"""The WSGI entry point: granian, gunicorn or any other server loads `application`."""

import gc
import os
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest
from django.urls import ResolverMatch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

ROUTES_AT_MOST = 200
WEBHOOK = "/webhooks/stripe/"


class KeyHandler(WSGIHandler):
    """Serves API requests that carry a key, and Stripe's, with KEY_MIDDLEWARE alone.

    What serves browsers (sessions, CSRF, messages, content policy, static files) has
    nothing to do for them and costs a sixth of a single record's time.
    """

    def __init__(self) -> None:
        self._routes: dict[str, ResolverMatch] = {}
        super().__init__()

    def load_middleware(self, is_async: bool = False) -> None:
        for_browsers = settings.MIDDLEWARE
        settings.MIDDLEWARE = settings.KEY_MIDDLEWARE
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = for_browsers

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Routes without parameters are looked up once: the search costs a twentieth of a record's time."""
        match = self._routes.get(request.path_info)
        if match is None:
            match = super().resolve_request(request)
            if not match.args and not match.kwargs and len(self._routes) < ROUTES_AT_MOST:
                self._routes[request.path_info] = match
        request.resolver_match = match
        return match


browsers = get_wsgi_application()
keys = KeyHandler()


def application(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    """Webhooks, and requests with a key under /api/, go the short way; the others go the full one."""
    path = environ.get("PATH_INFO", "")
    is_short = path == WEBHOOK or ("HTTP_AUTHORIZATION" in environ and path.startswith("/api/"))
    return (keys if is_short else browsers)(environ, start_response)


# What is loaded stays for good: load every view now, and let the garbage collector never look at it again.
import_module(settings.ROOT_URLCONF)
gc.collect()
gc.freeze()
