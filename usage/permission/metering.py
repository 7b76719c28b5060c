"""How a view says that it uses something: `@metered("image_generation", …)`.

The decorator only declares; `usage.middleware` asks for permission before the view runs and
records what it used. A metered view that the middleware has not let in refuses to run: a mistake
in the wiring gives nothing away.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.views import View

V = TypeVar("V", bound=Callable[..., Any])
T = TypeVar("T")
Amount = int | str | Decimal
Quantities = Mapping[str, Amount]
TTL_AT_MOST_S = 3600
_ATTRIBUTE = "tollgate_metering"


@dataclass(frozen=True, slots=True)
class Metering:
    """What a view announces before it runs; a callable is asked with each request."""

    operation: str
    quantities: Quantities | Callable[[HttpRequest], Quantities] | None
    provider: str | Callable[[HttpRequest], str]
    model: str | Callable[[HttpRequest], str]
    variant: str | Callable[[HttpRequest], str]
    campaign: str | Callable[[HttpRequest], str]
    ttl_seconds: int
    methods: frozenset[str]
    holds: bool  # False: it only looks
    passes_options: bool  # Django and DRF answer OPTIONS for the view, without any of its work

    def applies_to(self, method: str | None) -> bool:
        """Whether a request of this HTTP method is metered."""
        if self.methods:
            return method in self.methods
        return method != "OPTIONS" or not self.passes_options

    def announced(self, request: HttpRequest) -> dict[str, object]:
        """The fields of a record that say what is about to be used.

        Raises:
            TypeError: a quantity is no whole number, Decimal or string.
        """
        quantities = _of_request(self.quantities, request)
        fields: dict[str, object] = {
            name: value
            for name in ("provider", "model", "variant", "campaign")
            if (value := _of_request(getattr(self, name), request))
        }
        if quantities is not None:
            fields["quantities"] = quantity_texts(quantities)
        return {"operation": self.operation, **fields}


def _of_request(declared: T | Callable[[HttpRequest], T], request: HttpRequest) -> T:
    return declared(request) if callable(declared) else declared


def quantity_texts(quantities: Quantities) -> dict[str, str]:
    """Quantities as a record's body has them.

    Raises:
        TypeError: one is neither a whole number nor a Decimal nor a string; floats are not exact.
    """
    return {unit: _amount_text(unit, amount) for unit, amount in quantities.items()}


def _amount_text(unit: str, amount: Amount) -> str:
    if isinstance(amount, bool) or not isinstance(amount, int | str | Decimal):
        kind = type(amount).__name__
        raise TypeError(f"{unit} is a whole number, a Decimal or a string, not a {kind}.")
    return f"{amount.normalize():f}" if isinstance(amount, Decimal) else str(amount)


def metered(
    operation: str,
    *,
    quantities: Quantities | Callable[[HttpRequest], Quantities] | None = None,
    provider: str | Callable[[HttpRequest], str] = "",
    model: str | Callable[[HttpRequest], str] = "",
    variant: str | Callable[[HttpRequest], str] = "",
    campaign: str | Callable[[HttpRequest], str] = "",
    ttl_seconds: int = 300,
    methods: Collection[str] = (),
    hold: bool = True,
) -> Callable[[V], V]:
    """Let a view run only where its quotas have room, and record what it used.

    For function views, `@api_view` functions (above it: `@metered` comes first) and classes of
    Django and DRF. The view finds `request.metered`, and says there what it really used.

    Args:
        operation: the slug of what the view does.
        quantities: unit → amount that is held while it runs, and recorded when it reports nothing
            else; without any, 1 of the operation's default unit.
        provider, model, variant, campaign: of the record; a callable is asked with the request.
        ttl_seconds: for how long the room is held at most, 1 to 3600; longer than the view takes.
        methods: the HTTP methods that are metered; all, when none is named.
        hold: False only looks whether there is room, for one read of the database at most: nothing is
            held and nothing recorded, because that happens elsewhere. Two requests may both find the last
            room, and what was seen is believed for a second while a fifth of every limit is left.
    """
    if not 1 <= ttl_seconds <= TTL_AT_MOST_S:
        raise ValueError(f"ttl_seconds is 1 to {TTL_AT_MOST_S}, not {ttl_seconds}.")
    if quantities is not None and not callable(quantities):
        quantity_texts(quantities)  # says so while the module is loaded, not with the first request

    def declare(view: V) -> V:
        metering = Metering(
            operation=operation,
            quantities=quantities,
            provider=provider,
            model=model,
            variant=variant,
            campaign=campaign,
            ttl_seconds=ttl_seconds,
            methods=_with_head(methods),
            holds=hold,
            passes_options=_passes_options(view),
        )
        guarded = _guarded_class(view, metering) if inspect.isclass(view) else _guarded(view, metering)
        setattr(guarded, _ATTRIBUTE, metering)
        return guarded

    return declare


def _with_head(methods: Collection[str]) -> frozenset[str]:
    """Methods in capitals; HEAD with GET, because Django and DRF do the same work for both."""
    named = frozenset(method.upper() for method in methods)
    return named | {"HEAD"} if "GET" in named else named


def metering_of(view: object) -> Metering | None:
    """What a resolved view declares, or its class; None when it is not metered."""
    found = getattr(view, _ATTRIBUTE, None)
    if found is None:
        found = getattr(class_of(view), _ATTRIBUTE, None)
    return found if isinstance(found, Metering) else None


def class_of(view: object) -> type | None:
    """The class behind what `as_view()` made; None behind a function."""
    return getattr(view, "view_class", None) or getattr(view, "cls", None)


def _passes_options(view: Any) -> bool:
    behind: Any = view if inspect.isclass(view) else class_of(view)
    if behind is None:
        return False
    # DRF's own counts as the framework's, too; a view's own method is work like any other.
    return behind.options.__module__ in (View.__module__, "rest_framework.views")


def _guarded_class(view: Any, metering: Metering) -> Any:
    view.dispatch = _guarded(view.dispatch, metering, position=1)
    return view


def _guarded(view: Any, metering: Metering, position: int = 0) -> Any:
    """The view, or a class's dispatch, which runs only when the middleware has let the request in.

    Args:
        position: of the request among the arguments.
    """
    if inspect.iscoroutinefunction(view):

        @wraps(view)
        async def entered_later(*args: Any, **kwargs: Any) -> Any:
            _enter(args[position], metering)
            return await view(*args, **kwargs)

        return entered_later

    @wraps(view)
    def entered(*args: Any, **kwargs: Any) -> Any:
        _enter(args[position], metering)
        return view(*args, **kwargs)

    return entered


def _enter(request: Any, metering: Metering) -> None:
    permission = getattr(request, "metered", None)
    if permission is not None:
        permission.has_begun = True
    elif metering.applies_to(request.method):
        raise ImproperlyConfigured(
            f"A view metered as {metering.operation!r} was called without permission: usage.middleware"
            ".MeteredViews belongs in MIDDLEWARE, and @metered above every other decorator of the view."
        )
