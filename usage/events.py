"""One usage event as a client sends it: decoded, checked, and hashed as it was sent.

msgspec decodes a whole body at once; only when something in it is wrong is each
item decoded alone, so that every bad one gets its own error and the good ones pass.
"""

import contextlib
import hashlib
import ipaddress
import json
import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeVar

import msgspec

from accounts.errors import DomainError, Invalid
from usage.fields import LARGEST_QUANTITY, QUANTITY_PLACES, QUANTITY_SCALE
from usage.models.catalogue import SLUG
from usage.redaction import redact, redact_text

ITEMS_AT_MOST = 10_000
UNITS_AT_MOST = 32
DEPTH_AT_MOST = 20
METADATA_BYTES_AT_MOST = 8 * 1024
AHEAD_AT_MOST = timedelta(minutes=5)
BACK_AT_MOST = timedelta(hours=24)  # for account keys
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

Meta = msgspec.Meta
Slug = Annotated[str, Meta(pattern=SLUG.removesuffix("$") + r"\Z")]  # $ would let a newline follow
Text64 = Annotated[str, Meta(max_length=64)]
Text128 = Annotated[str, Meta(max_length=128)]
Text200 = Annotated[str, Meta(max_length=200)]
Text500 = Annotated[str, Meta(max_length=500)]
Whole = Annotated[int, Meta(ge=0, le=10**15)]
ABSENT = msgspec.Raw(b"")


class StatedCost(msgspec.Struct, forbid_unknown_fields=True):
    """A cost that the client knows, kept as stated; an amount above zero in any currency with a rate."""

    amount: msgspec.Raw
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]


class Event(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a record (api.md, Recording). None is a field that was not sent."""

    operation: Slug
    event_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    account: Annotated[str, Meta(min_length=1, max_length=254)] | None = None
    user: Annotated[str, Meta(min_length=1, max_length=254)] | None = None
    provider: Text64 | None = None
    model: Text128 | None = None
    variant: Text64 | None = None
    quantities: dict[str, msgspec.Raw] | None = None
    characters: Whole | None = None
    audio_bytes: Whole | None = None
    cost: StatedCost | None = None
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    status: Literal["success", "error", "rate_limited"] | None = None
    latency_ms: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    endpoint: Text500 | None = None
    request_id: Text200 | None = None
    session: Text200 | None = None
    reference: Text200 | None = None
    campaign: Text200 | None = None
    ip_address: Annotated[str, Meta(max_length=45)] | None = None
    user_agent: Text500 | None = None
    metadata: msgspec.Raw = ABSENT


class Announcement(Event, forbid_unknown_fields=True, kw_only=True):
    """The body of a check or a reservation: a record's, and how long the room is to be held."""

    ttl_seconds: Annotated[int, Meta(ge=1, le=3600)] = 300


_TEXT_FIELDS = tuple(f for f in Event.__struct_fields__ if f not in ("quantities", "cost", "metadata"))
_one = msgspec.json.Decoder(Event)
_announcement = msgspec.json.Decoder(Announcement)
_many = msgspec.json.Decoder(list[Event])
_raw_items = msgspec.json.Decoder(list[msgspec.Raw])
_QUANTITY = re.compile(rb'"(\d{1,13})(?:\.(\d{1,4}))?"|(\d{1,13})(?:\.(\d{1,4}))?')
_AMOUNT = re.compile(rb'"(\d{1,13})(?:\.(\d{1,10}))?"|(\d{1,13})(?:\.(\d{1,10}))?')
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Item = Event | DomainError
E = TypeVar("E", bound=Event)


def decode_one(raw: bytes) -> Event:
    """The event in a JSON object.

    Raises:
        DomainError: 400 with the field at fault.
    """
    return _decode(_one, raw)


def decode_announcement(raw: bytes) -> Announcement:
    """The announced usage in a JSON object; errors as in `decode_one`."""
    return _decode(_announcement, raw)


def _decode(decoder: msgspec.json.Decoder[E], raw: bytes) -> E:
    try:
        event = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _explain(error) from error
    if may_hold_nul(raw):
        _refuse_nul(event)
    return event


def decode_array(raw: bytes) -> list[Item]:
    """The events of a JSON array in order; a bad item is its error.

    Raises:
        DomainError: 400 when the body is no JSON array, 413 when it has too many items.
    """
    # When something in it is wrong, it is looked for below, item by item.
    with contextlib.suppress(msgspec.DecodeError, UnicodeError, RecursionError):
        if not may_hold_nul(raw):
            return _bounded(_many.decode(raw))
    try:
        items = [bytes(item) for item in _bounded(_raw_items.decode(raw))]
    except msgspec.DecodeError as error:
        items = _bounded(_loose_items(raw, error))
    except RecursionError as error:
        raise _explain(error) from error
    return [_decoded(item) for item in items]


_loose = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_white_space = re.compile(r"[ \t\n\r]*")


def _loose_items(raw: bytes, strict_error: msgspec.DecodeError) -> list[bytes]:
    """The items of an array in which some are not quite JSON: NaN, or half of an emoji that was cut.

    They get their errors one by one, and the others are recorded.
    """
    text = raw.decode(errors="surrogateescape")
    items: list[bytes] = []
    at = _after_white_space(text, text.index("[") + 1)
    try:
        while not items or text[at] == ",":
            at = _after_white_space(text, at + 1) if items else at
            _, end = _loose.raw_decode(text, at)
            items.append(text[at:end].encode(errors="surrogateescape"))
            at = _after_white_space(text, end)
    except (ValueError, IndexError, RecursionError) as error:
        raise _explain(strict_error) from error
    if text[at] != "]" or _after_white_space(text, at + 1) != len(text):
        raise _explain(strict_error)
    return items


def _after_white_space(text: str, at: int) -> int:
    match = _white_space.match(text, at)
    return match.end() if match else at


def decode_lines(raw: bytes) -> list[Item]:
    """The events of an NDJSON body; empty lines are passed over."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    return [_decoded(line) for line in _bounded(lines)]


def _bounded(items: list) -> list:
    if len(items) > ITEMS_AT_MOST:
        raise DomainError(
            "too_many_items", f"{len(items)} items; one request takes at most {ITEMS_AT_MOST}.", 413
        )
    return items


def _decoded(raw: bytes) -> Item:
    try:
        return decode_one(raw)
    except DomainError as error:
        error.extra["event_id"] = _readable_event_id(raw)
        return error


def _readable_event_id(raw: bytes) -> str | None:
    """The event id of an item that is wrong elsewhere, so that its sender can find it."""
    try:
        found = _loose.decode(raw.decode())
        event_id = found.get("event_id") if isinstance(found, dict) else None
        return event_id.encode().decode()[:200] if isinstance(event_id, str) else None
    except (ValueError, RecursionError):
        return None


_WHERE = re.compile(r" - at `\$\.?([^`]*)`$")


def _explain(error: Exception) -> DomainError:
    """A decoding error as a sentence with its field."""
    if isinstance(error, RecursionError):
        return DomainError("too_deep", f"The JSON is nested deeper than {DEPTH_AT_MOST} levels.", 400)
    if isinstance(error, UnicodeError):
        return DomainError("malformed", "The body is not UTF-8.", 400)
    message = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return DomainError("malformed", f"The body is not valid JSON: {message}.", 400)
    where = _WHERE.search(message)
    field = where.group(1).replace("[...]", "") if where else ""
    message = _WHERE.sub("", message)
    if named := re.search(r"unknown field `([^`]*)`", message):
        name = f"{field}.{named.group(1)}" if field else named.group(1)
        return Invalid(name, f"There is no field {name!r}.", "unknown_field")
    if named := re.search(r"missing required field `([^`]*)`", message):
        name = f"{field}.{named.group(1)}" if field else named.group(1)
        return Invalid(name, f"{name} is required.", "required")
    if "matching regex" in message and field in ("operation",):
        message = "a slug: letters, digits, dot, dash and underscore, at most 64"
    return Invalid(field or "body", f"{field or 'The body'}: {message}.".replace("..", "."))


def may_hold_nul(raw: bytes) -> bool:
    """Whether it is worth looking for a NUL in what is decoded from these bytes."""
    return b"\\u0000" in raw or b"\x00" in raw


def _refuse_nul(event: Event) -> None:
    for name in _TEXT_FIELDS:
        value = getattr(event, name)
        if isinstance(value, str) and "\x00" in value:
            raise Invalid(name, f"{name} holds a NUL character.")
    for unit in event.quantities or ():
        if "\x00" in unit:
            raise Invalid("quantities", "A unit holds a NUL character.")


def holds_nul(value: object) -> bool:
    """Whether a string somewhere in decoded JSON holds a NUL character."""
    if isinstance(value, dict):
        return any("\x00" in key or holds_nul(child) for key, child in value.items())
    if isinstance(value, list):
        return any(holds_nul(child) for child in value)
    return isinstance(value, str) and "\x00" in value


def scaled_quantity(raw: msgspec.Raw, unit: str) -> int:
    """A quantity as a whole number of 10⁻⁴; a number or a string, at most 10¹²."""
    digits = bytes(raw)
    if len(digits) <= 12 and digits.isdigit():  # nearly all of them: spare these the expression
        return int(digits) * QUANTITY_SCALE
    value = _scaled(raw, _QUANTITY, QUANTITY_PLACES)
    if value is None:
        message = f"{unit}: a number or string with at most 13 digits and 4 decimal places, not negative."
        raise Invalid(f"quantities.{unit}", message)
    return bounded_quantity(value, f"quantities.{unit}", unit)


def bounded_quantity(value: int, field: str, unit: str) -> int:
    """A scaled quantity as it is, when it is at most 10¹²; estimates of one are held to the same."""
    if value > LARGEST_QUANTITY:
        raise Invalid(field, f"{unit}: more than 10^12.", "too_large")
    return value


def scaled_amount(raw: msgspec.Raw) -> int:
    """A stated amount of money as a whole number of 10⁻¹⁰ of its currency."""
    value = _scaled(raw, _AMOUNT, 10)
    if value is None:
        message = (
            "cost.amount: a number or string with at most 13 digits and 10 decimal places, not negative."
        )
        raise Invalid("cost.amount", message)
    return value


def _scaled(raw: msgspec.Raw, pattern: re.Pattern[bytes], places: int) -> int | None:
    match = pattern.fullmatch(raw)
    if match is None:
        return None
    whole, part, plain, plain_part = match.groups()
    fraction = part or plain_part
    if fraction is None:
        return int(whole or plain) * 10**places
    return int((whole or plain) + fraction.ljust(places, b"0"))


def checked_occurred_at(event: Event, now: datetime, *, may_be_old: bool) -> datetime:
    """When it happened, in UTC; now when the client does not say."""
    if event.occurred_at is None:
        return now
    try:
        instant = event.occurred_at.astimezone(UTC)
    except OverflowError as error:
        raise Invalid("occurred_at", "occurred_at is out of range.") from error
    if instant > now + AHEAD_AT_MOST:
        raise Invalid("occurred_at", "occurred_at is more than 5 minutes ahead.", "in_the_future")
    if instant < EARLIEST or (not may_be_old and instant < now - BACK_AT_MOST):
        reach = "1970" if may_be_old else "24 hours ago"
        raise Invalid("occurred_at", f"occurred_at is earlier than {reach}.", "too_old")
    return instant


def checked_ip_address(event: Event) -> str:
    if not event.ip_address:
        return ""
    try:
        return str(ipaddress.ip_address(event.ip_address))
    except ValueError as error:
        raise Invalid("ip_address", f"{event.ip_address!r} is not an IP address.") from error


def is_too_deep(value: object, levels: int) -> bool:
    """Whether decoded JSON is nested deeper than `levels`."""
    holders = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):  # level by level, which is a third of the time of one call for each value
        inside = (holder.values() if isinstance(holder, dict) else holder for holder in holders)
        holders = [child for children in inside for child in children if isinstance(child, dict | list)]
        if not holders:
            return False
    return bool(holders)


def decoded_metadata(event: Event) -> dict | None:
    """The metadata as sent, checked for size and depth."""
    raw = bytes(event.metadata)
    if raw in (b"", b"null"):
        return None
    if len(raw) > METADATA_BYTES_AT_MOST:
        raise Invalid(
            "metadata", f"metadata has {len(raw)} bytes; at most {METADATA_BYTES_AT_MOST}.", "too_large"
        )
    try:
        value = msgspec.json.decode(raw)
    except RecursionError as error:
        raise Invalid(
            "metadata", f"metadata is nested deeper than {DEPTH_AT_MOST} levels.", "too_deep"
        ) from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Invalid("metadata", f"metadata is not valid JSON: {error}.", "malformed") from error
    if not isinstance(value, dict):
        raise Invalid("metadata", "metadata is an object.")
    if is_too_deep(value, DEPTH_AT_MOST - 1):
        raise Invalid("metadata", f"metadata is nested deeper than {DEPTH_AT_MOST} levels.", "too_deep")
    if may_hold_nul(raw) and holds_nul(value):
        raise Invalid("metadata", "metadata holds a NUL character.")
    return value


def stored_metadata(metadata: dict | None) -> str:
    """The metadata as it is stored: secrets redacted, as JSON text."""
    return json.dumps(redact(metadata), ensure_ascii=False, separators=(",", ":")) if metadata else ""


def stored_endpoint(event: Event) -> str:
    return _stored_text(event.endpoint)


def stored_user_agent(event: Event) -> str:
    return _stored_text(event.user_agent)


def _stored_text(sent: str | None) -> str:
    # What stands in for a secret may be longer than the secret; the columns hold what may be sent.
    return redact_text(sent)[:500] if sent else ""


def event_hash(event_id: str, namespace: tuple[str, ...] = ()) -> bytes:
    """16 bytes that stand for an event id within its account.

    A UUID in canonical lower-case form is its own 16 bytes, so that UUIDv7 stays
    ordered in the index; anything else is hashed. Ids from another namespace
    (dialect, source) hash with the lengths of all parts, so that none can imitate another.
    """
    if not namespace:
        if len(event_id) == 36 and _UUID.fullmatch(event_id):
            return bytes.fromhex(event_id.replace("-", ""))
        return hashlib.sha256(event_id.encode()).digest()[:16]
    parts = [part.encode() for part in (*namespace, event_id)]
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hashlib.sha256(b"namespace" + framed).digest()[:16]


def content_hash(
    event: Event,
    account_id: int,
    quantities: dict[str, int] | None,
    occurred_at: datetime | None,
    metadata: dict | None,
) -> bytes:
    """16 bytes over the fields as sent: account resolved, numbers normalised, before any default.

    Two sendings with the same event id are the same event only if these agree.
    """
    cost = event.cost
    sent = (
        account_id,
        event.operation,
        event.provider,
        event.model,
        event.variant,
        None if quantities is None else sorted(quantities.items()),
        occurred_at,
        event.status,
        event.latency_ms,
        event.user,
        event.session,
        event.reference,
        event.campaign,
        event.characters,
        event.audio_bytes,
        None if cost is None else (scaled_amount(cost.amount), cost.currency),
        event.endpoint,
        event.request_id,
        event.ip_address,
        event.user_agent,
        None if metadata is None else json.dumps(metadata, sort_keys=True),
    )
    return hashlib.blake2b(msgspec.json.encode(sent), digest_size=16).digest()


def new_event_id() -> str:
    """A UUIDv7: 48 bits of milliseconds, then random; ordered by time in the unique index."""
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(76)
    value = value & ~(0b11 << 62) | 0b10 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
