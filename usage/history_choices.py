"""What the filters of the History page offer: the account's own operations, models, members, keys, campaigns.

A list is offered while it is short enough to be read; beyond that the name is typed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q, Value

from accounts.models import Account, Key, Member
from usage.dictionaries import models_by_id
from usage.models import Campaign, Refusal, Rollup, Status
from usage.price_book import PriceBook

CHOICES_AT_MOST = 200
CHARACTERS_AT_MOST = 5_000  # of one list in the page, its markup included
MARKUP = 24  # characters around a choice
COMBINATIONS_AT_MOST = 5_000  # of operation, model and key


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str


Choices = list[Choice] | None  # None: too many to be listed


@dataclass(frozen=True, slots=True)
class Used:
    """The operations, models and keys that an account's records and refusals name, by their ids."""

    operations: frozenset[int]
    models: frozenset[int]
    keys: frozenset[int]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Offered:
    """The choices of each filter that has some, by the name of its parameter."""

    by_name: dict[str, Choices]
    used: Used


def offered(account: Account, book: PriceBook) -> Offered:
    """What there is to choose from, in four statements whatever the account has used, and one for models
    that this process has not met."""
    used = used_by(account)
    models = models_by_id(used.models).values()
    named = {
        "operation": _operations(used, book),
        "provider": _plain(provider for provider, _, _ in models),
        "model": _plain(name for _, name, _ in models),
        "key": _keys(account, used),
    }
    short = {name: _if_short(choices) if used.is_whole else None for name, choices in named.items()}
    statuses = [Choice(label, label.replace("_", " ")) for label in map(str, Status.labels)]
    rest = {
        "status": statuses,
        "user": _if_short(_members(account)),
        "campaign": _if_short(_campaigns(account)),
    }
    return Offered(short | rest, used)


def used_by(account: Account) -> Used:
    """What the totals and the refusals of an account name."""
    recorded = Rollup.objects.filter(account_id=account.pk).order_by()
    refused = Refusal.objects.filter(account_id=account.pk).order_by().annotate(no_model=Value(0))
    combined = recorded.values_list("operation_id", "model_id", "key_id").union(
        refused.values_list("operation_id", "no_model", "key_id")
    )
    found = list(combined[: COMBINATIONS_AT_MOST + 1])
    operations, models, keys = (frozenset(row[place] for row in found) - {0} for place in range(3))
    return Used(operations, models, keys, is_whole=len(found) <= COMBINATIONS_AT_MOST)


def _operations(used: Used, book: PriceBook) -> list[Choice]:
    entries = map(book.operation, used.operations)
    return sorted((Choice(entry.slug, entry.name) for entry in entries), key=_by_label)


def _plain(names: Iterable[str]) -> list[Choice]:
    return [Choice(name, name) for name in sorted(set(names) - {""})]


def _keys(account: Account, used: Used) -> list[Choice]:
    """The account's keys, and those of the back end that recorded for it, without their names."""
    keys = Key.objects.filter(Q(account=account) | Q(pk__in=used.keys)).order_by("-id")
    return [
        Choice(key.prefix, f"{key.prefix}… {key.name if key.account_id == account.pk else 'service key'}")
        for key in keys[: CHOICES_AT_MOST + 1]
    ]


def _members(account: Account) -> list[Choice]:
    members = Member.objects.filter(account=account).select_related("user").order_by("id")
    users = (member.user for member in members[: CHOICES_AT_MOST + 1])
    return [Choice(user.email, f"{user.name} ({user.email})" if user.name else user.email) for user in users]


def _campaigns(account: Account) -> list[Choice]:
    campaigns = list(Campaign.objects.filter(account=account).order_by("-id")[: CHOICES_AT_MOST + 1])
    campaigns.sort(key=lambda campaign: (campaign.archived_at is not None, campaign.name))
    return [
        Choice(campaign.name, f"{campaign.name} (archived)" if campaign.archived_at else campaign.name)
        for campaign in campaigns
    ]


def _by_label(choice: Choice) -> str:
    return choice.label.casefold()


def _if_short(choices: list[Choice]) -> Choices:
    characters = sum(len(choice.value) + len(choice.label) + MARKUP for choice in choices)
    return choices if len(choices) <= CHOICES_AT_MOST and characters <= CHARACTERS_AT_MOST else None
