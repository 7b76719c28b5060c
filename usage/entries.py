"""An event on its way into the ledger: checked against every rule that needs no catalogue."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime

import msgspec

from accounts.errors import DomainError, Invalid
from accounts.keys import Caller
from accounts.models import Account
from accounts.references import AccountResolver
from usage import events
from usage.events import Event
from usage.models import Status

STATUSES = {status.label: status.value for status in Status}


@dataclass(slots=True)
class Entry:
    """One event on its way into the ledger. Ids are 0 for none."""

    index: int
    account: Account
    account_id: int
    event: Event
    event_id: str
    event_hash: bytes
    content_hash: bytes
    quantities: dict[str, int] | None  # as sent, whole numbers of 10⁻⁴
    metadata: dict | None
    ip_address: str
    arrived_at: datetime
    occurred_at: datetime
    status: int
    user_id: int
    key_id: int
    local_day: date = date.min
    model_id: int = 0
    session_id: int = 0
    campaign_id: int = 0
    operation_id: int = 0
    estimated: bool = False
    lines: list[tuple] = field(default_factory=list)
    cost: int | None = 0
    priced: bool = True
    detail: tuple | None = None
    moves: tuple = ()  # what it adds to balances (usage.quotas.admission)
    denial: DomainError | None = None  # why it is not permitted, whatever the balances hold
    refusal: DomainError | None = None  # why it cannot be recorded now, unless it was recorded before

    @property
    def order(self) -> tuple[int, bytes]:
        return (self.account_id, self.event_hash)


def checked(
    index: int, event: Event, resolver: AccountResolver, now: datetime, namespace: tuple[str, ...]
) -> Entry:
    """Check one event against the rules that need no catalogue."""
    caller = resolver.caller
    occurred_at, refusal = _occurred_at(event, now, caller)
    quantities = None
    if event.quantities is not None:
        quantities = _checked_quantities(event)
    if event.characters is not None and quantities is not None and "output_tokens" in quantities:
        raise Invalid("characters", "characters stands in for output_tokens; send one of them.")
    if event.audio_bytes is not None and quantities is not None and "minutes" in quantities:
        raise Invalid("audio_bytes", "audio_bytes stands in for minutes; send one of them.")
    if event.cost is not None:
        if not caller.is_service:
            raise DomainError("service_key_required", "Only a service key may state a cost.", 403, "cost")
        events.scaled_amount(event.cost.amount)
    metadata = events.decoded_metadata(event) if event.metadata is not events.ABSENT else None
    ip_address = events.checked_ip_address(event)
    account = resolver.resolve(event.account)
    user_id = 0 if event.user is None else resolver.member_id(account, event.user)
    account_id = account.pk
    sent_at = occurred_at if event.occurred_at is not None else None
    event_id = event.event_id or events.new_event_id()
    return Entry(
        index=index,
        account=account,
        account_id=account_id,
        event=event,
        event_id=event_id,
        event_hash=events.event_hash(event_id, namespace),
        content_hash=events.content_hash(event, account_id, quantities, sent_at, metadata),
        quantities=quantities,
        metadata=metadata,
        ip_address=ip_address,
        arrived_at=now,
        occurred_at=occurred_at,
        status=STATUSES[event.status or "success"],
        user_id=user_id,
        key_id=caller.key_id or 0,
        refusal=refusal,
    )


def _occurred_at(event: Event, now: datetime, caller: Caller) -> tuple[datetime, DomainError | None]:
    """When it happened. Too long ago for this key is no error yet: it may be a retry of what is known."""
    try:
        return events.checked_occurred_at(event, now, may_be_old=caller.is_service), None
    except DomainError as error:
        if error.error != "too_old" or event.event_id is None:
            raise
        return events.checked_occurred_at(event, now, may_be_old=True), error


def for_estimate(event: Event, caller: Caller, now: datetime) -> Entry:
    """One event checked as recording would check it, with its local day; for estimates.

    The account must exist: an estimate creates none.
    """
    without_creating = replace(caller, scopes=caller.scopes - {"accounts:create"})
    entry = checked(0, event, AccountResolver(without_creating), now, ())
    if entry.refusal is not None:
        raise entry.refusal
    entry.local_day = entry.occurred_at.astimezone(entry.account.zone).date()
    return entry


_slug = msgspec.json.Decoder(events.Slug)
_known_slugs: set[str] = set()


def _checked_quantities(event: Event) -> dict[str, int]:
    sent = event.quantities or {}
    if len(sent) > events.UNITS_AT_MOST:
        raise Invalid("quantities", f"{len(sent)} units; at most {events.UNITS_AT_MOST}.", "too_many_units")
    if not _known_slugs.issuperset(sent):
        for unit in sent:
            _check_slug(unit)
    return {unit: events.scaled_quantity(raw, unit) for unit, raw in sent.items()}


def _check_slug(unit: str) -> None:
    try:
        _slug.decode(msgspec.json.encode(unit))
    except msgspec.ValidationError as error:
        raise Invalid("quantities", f"{unit[:70]!r} is not a slug.", "invalid_unit") from error
    if len(_known_slugs) < 10_000:
        _known_slugs.add(unit)
