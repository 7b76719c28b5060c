"""System checks: mistakes in the wiring of metered views are found at start, not by the first client."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import DatabaseError, InterfaceError
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from usage.models import Meter, Operation
from usage.permission.metering import Metering, class_of, metering_of

MIDDLEWARE = "usage.middleware.MeteredViews"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
PATTERNS_AT_MOST = 20_000  # an URLconf that includes itself has no end


def check_metered_views(app_configs: object = None, **_: object) -> list[CheckMessage]:
    """Every metered view of the URLconf can be permitted, and what it uses recorded."""
    views = dict(_metered_views())
    if not views:
        return []
    return [
        *_check_middleware(min(views)),
        *_check_authentication(views),
        *_check_catalogue(views),
    ]


def _metered_views() -> Iterator[tuple[str, tuple[Any, Metering]]]:
    """The metered views of the URLconf, by the address that leads to them."""
    for address, view in _views(get_resolver().url_patterns):
        metering = metering_of(view)
        if metering is not None:
            yield address, (view, metering)


def _views(patterns: Sequence[URLPattern | URLResolver]) -> Iterator[tuple[str, Any]]:
    waiting = [("/", pattern) for pattern in patterns]
    for _ in range(PATTERNS_AT_MOST):
        if not waiting:
            return
        prefix, pattern = waiting.pop()
        address = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            waiting.extend((address, inner) for inner in pattern.url_patterns)
        else:
            yield address, pattern.callback


def _check_middleware(address: str) -> Iterator[CheckMessage]:
    """The middleware is there, where it knows who asks.

    Args:
        address: of one of the metered views, to be named.
    """
    stack = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in stack:
        yield Error(
            f"{address} is metered, and {MIDDLEWARE} is not in MIDDLEWARE: it refuses to run",
            hint=f'Add "{MIDDLEWARE}" to MIDDLEWARE, after "{AUTHENTICATION}".',
            id="usage.E001",
        )
    elif AUTHENTICATION in stack[stack.index(MIDDLEWARE) :]:
        yield Error(
            f"{MIDDLEWARE} stands before AuthenticationMiddleware: it knows no signed-in user",
            hint=f'In MIDDLEWARE, move "{MIDDLEWARE}" below "{AUTHENTICATION}".',
            id="usage.E002",
        )
    if MIDDLEWARE not in getattr(settings, "KEY_MIDDLEWARE", [MIDDLEWARE]):
        yield Error(
            f"{address} is metered, and {MIDDLEWARE} is not in KEY_MIDDLEWARE",
            hint=f'Add "{MIDDLEWARE}" to KEY_MIDDLEWARE: requests under /api/ with a key pass that alone.',
            id="usage.E002",
        )


def _check_catalogue(views: dict[str, tuple[Any, Metering]]) -> Iterator[CheckMessage]:
    """What views announce can be limited, as far as there is a catalogue by now."""
    try:
        default_units = dict(Operation.objects.values_list("slug", "default_unit"))
        sums = list(Meter.objects.filter(aggregation=Meter.Aggregation.SUM))
    except (DatabaseError, InterfaceError):  # not migrated yet, or away: another check's business
        return
    for address, (_, metering) in sorted(views.items()) if default_units else ():
        if metering.operation not in default_units:
            yield Warning(
                f"{address} is metered as {metering.operation!r}, which no operation is called",
                hint="Correct the slug, or add the operation in the admin (Catalogue, Operations): until then"
                " no meter lists it, and no limit holds for it.",
                id="usage.W003",
            )
        elif not callable(metering.quantities):
            units = set(metering.quantities or [default_units[metering.operation]])
            yield from (
                _never_permitted(address, meter)
                for meter in sums
                if metering.operation in meter.operations and not units & set(meter.units)
            )


def _never_permitted(address: str, meter: Meter) -> CheckMessage:
    return Warning(
        f"{address} announces nothing that the meter {meter.slug} counts",
        hint=f"Announce one of {', '.join(sorted(meter.units))} in quantities: where {meter.slug} is limited,"
        " every request is refused with missing_unit.",
        id="usage.W005",
    )


def _check_authentication(views: dict[str, tuple[Any, Metering]]) -> Iterator[CheckMessage]:
    """Whoever spends is somebody also for the view itself."""
    for address, (view, _) in sorted(views.items()):
        behind = class_of(view)
        if behind is not None and issubclass(behind, APIView) and not behind.authentication_classes:
            yield Error(
                f"{address} is metered, and its view {behind.__name__} has no authentication_classes",
                hint="Leave authentication_classes out, or name accounts.authentication.KeyAuthentication:"
                " without any, request.user and request.auth are nobody, and no rate limit counts.",
                id="usage.E004",
            )
