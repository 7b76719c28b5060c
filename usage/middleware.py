"""HTTP ↔ quotas: what a metered view uses is permitted before it runs and recorded after it.

A view opts in with `@metered("image_generation", …)`, whoever serves it: a function, a class, DRF,
at once or as a stream. `MeteredViews` in MIDDLEWARE does the rest:

- Before: who asks (a key with `usage:write`, or the signed-in browser), and room for what is
  announced in every quota that it falls under, or a refusal, which the view never sees.
- A view with `hold=False` is only let in or not: what it uses is recorded elsewhere.
- After: an answer below 400 records what the view reported, else what it announced. Anything else
  gives the room back, except that what was reported is recorded as an error and not lost.
- Streams are over when their last part was taken. One that is broken off records what was reported
  until then, and otherwise gives the room back.

Asking fails closed (503 while the database is away). Recording never breaks an answer: what could
not be recorded is logged as a body to be posted later, and its room comes back when it expires.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from accounts.authentication import caller_of_any
from accounts.errors import DomainError
from accounts.problems import problem_response
from usage.permission import metered_request
from usage.permission.metered_request import Metered
from usage.permission.metering import Metering, class_of, metered, metering_of
from usage.rates import limits as rate_limits
from usage.retrying import away, is_away, is_transient

__all__ = ("Metered", "MeteredRequest", "MeteredViews", "metered")
RATES = "metered_rates"  # attribute of a request: headers of the limits a minute that it was counted in


class MeteredRequest(HttpRequest):
    """A request as a metered view gets it; DRF's own request passes `metered` on, too."""

    metered: Metered


class MeteredViews:
    """The middleware. It stands after AuthenticationMiddleware, and in KEY_MIDDLEWARE."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response = self.get_response(request)
        except BaseException:  # the worker is being stopped: exceptions have become answers before
            _give_up(request)
            raise
        permission = getattr(request, "metered", None)
        if permission is None:  # not metered, or refused
            return response
        return _finish(permission, request, response) if permission.holds else _with_rates(request, response)

    def process_view(
        self, request: HttpRequest, view: Callable, args: object, kwargs: object
    ) -> HttpResponse | None:
        """Ask for permission before a metered view; the refusal is the answer."""
        metering = metering_of(view)
        if metering is None or not metering.applies_to(request.method):
            return None
        try:
            _ask(request, view, metering)
        except DomainError as error:
            return _with_rates(request, problem_response(error))
        except (DatabaseError, InterfaceError) as error:
            if not is_transient(error) and not is_away(error):
                raise
            return problem_response(away())
        return None


def _ask(request: Any, view: Callable, metering: Metering) -> None:
    caller = caller_of_any(request)
    behind = class_of(view)
    if behind is None or not issubclass(behind, APIView):
        # DRF's views count their requests themselves (usage.rates.throttling).
        setattr(request, RATES, rate_limits.take_request(caller))
    request.metered = metered_request.begin(metering, request, caller)


def _with_rates(request: HttpRequest, response: Any) -> Any:
    _add_headers(response, getattr(request, RATES, {}))
    return response


def _add_headers(response: Any, headers: dict[str, str]) -> None:
    rate_limits.add_headers(response.headers, headers)


def _give_up(request: HttpRequest) -> None:
    permission = getattr(request, "metered", None)
    if permission is not None and permission.holds:
        permission.fail()


def _finish(permission: Metered, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Settle or release; of a stream, when it is over."""
    if response.status_code >= 400:
        permission.fail()
    elif isinstance(response, StreamingHttpResponse):
        parts: Any = response.streaming_content
        response.streaming_content = (
            _LaterStream(parts, permission) if response.is_async else _Stream(parts, permission)
        )
    else:
        permission.succeed()
    _add_headers(response, permission.headers())
    return _with_rates(request, response)


class _Stream:
    """The parts of a streamed answer, and what was used once they are over.

    Not a generator: one that nobody began would not notice that it is closed.
    """

    def __init__(self, parts: Iterator[bytes], permission: Metered) -> None:
        self._parts = iter(parts)
        self._permission = permission

    def __iter__(self) -> "_Stream":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            self._permission.succeed()
            raise
        except BaseException:
            self._permission.fail()
            raise

    def close(self) -> None:
        """The answer is closed, after the view's own iterator; before its end when the client went away."""
        self._permission.break_off()


class _LaterStream:
    """The same for the asynchronous stream of an async view."""

    def __init__(self, parts: AsyncIterator[bytes], permission: Metered) -> None:
        self._parts = aiter(parts)
        self._permission = permission

    def __aiter__(self) -> "_LaterStream":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except StopAsyncIteration:
            await sync_to_async(self._permission.succeed)()
            raise
        except Exception:
            await sync_to_async(self._permission.fail)()
            raise

    def close(self) -> None:
        """As of `_Stream`."""
        self._permission.break_off()
