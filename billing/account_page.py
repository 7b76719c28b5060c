"""What the pages about an account show: who is in it, what each of them used, and what that cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.http import urlencode

from accounts.models import Account, Invitation, Member
from billing.usage_page import Amounts, amounts
from usage import formatting, price_book, queries
from usage import members as members_usage
from usage.members import NOBODY, Budget, UserUsage
from usage.price_book import PriceBook

MEMBERS_AT_MOST = 50  # on one page, so that it stays below 100 kB
HISTORY = "/settings/usage/history/"


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member, what they used this month, and their budgets."""

    member: Member
    records: int
    unpriced: int
    amounts: Amounts
    budgets: list[Budget]
    history: str  # the address of their records


@dataclass(frozen=True, slots=True)
class RestRow:
    """Usage of the month that stands under no member of the account."""

    name: str
    records: int
    unpriced: int
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Members:
    """Members in the order in which they came, and the rest of the account's usage; it adds up to `total`."""

    month: str
    rows: list[MemberRow]
    rest: list[RestRow]
    total: Amounts
    currency: str | None
    has_budgets: bool
    after: int | None  # the id that the next page begins behind; None: this is the last


def load_members(account: Account, book: PriceBook, after: int = 0) -> Members:
    """A page of the account's members with this month's usage.

    Args:
        book: the price book of the whole page.
        after: the member id that the page before ended with.
    """
    start, end = this_month(account)
    found = list(members_of(account).filter(pk__gt=after)[: MEMBERS_AT_MOST + 1])
    shown = found[:MEMBERS_AT_MOST]
    usage = members_usage.usage_by_user(account, start, end, book)
    budgets = members_usage.budgets(account, [member.user_id for member in shown], timezone.now(), book)
    rows = [_row(account, member, usage, budgets, book) for member in shown]
    total = _sum(usage.values(), book)
    # Who is not shown may still be a member, on another page.
    former = set(usage) - {NOBODY} - {member.user_id for member in shown}
    if former and (after or len(found) > MEMBERS_AT_MOST):
        former -= set(account.members.filter(user_id__in=former).values_list("user_id", flat=True))
    return Members(
        month=formatting.month(start),
        rows=rows,
        rest=_rest(account, usage, former, book),
        total=amounts(total.cost, account.currency),
        currency=None if account.currency == "USD" else account.currency,
        has_budgets=any(row.budgets for row in rows),
        after=rows[-1].member.pk if len(found) > MEMBERS_AT_MOST else None,
    )


def members_of(account: Account) -> QuerySet[Member]:
    return Member.objects.filter(account=account).select_related("user").order_by("id")


def _row(
    account: Account,
    member: Member,
    usage: dict[int, UserUsage],
    budgets: dict[int, list[Budget]],
    book: PriceBook,
) -> MemberRow:
    used = usage.get(member.user_id) or _sum((), book)
    return MemberRow(
        member=member,
        records=used.records,
        unpriced=used.unpriced,
        amounts=amounts(used.cost, account.currency),
        budgets=budgets.get(member.user_id, []),
        history=f"{HISTORY}?{urlencode({'account': account.public_id, 'user': member.user.email})}",
    )


def _rest(account: Account, usage: dict[int, UserUsage], former: set[int], book: PriceBook) -> list[RestRow]:
    """What was recorded by who is no member any more, and for nobody in particular."""
    gone = _sum((usage[user_id] for user_id in former), book)
    nobody = _sum((usage[user_id] for user_id in usage if user_id == NOBODY), book)
    return [
        RestRow(name, used.records, used.unpriced, amounts(used.cost, account.currency))
        for name, used in (("Former members", gone), ("No member named", nobody))
        if used.records or used.cost.scaled
    ]


def _sum(some: Iterable[UserUsage], book: PriceBook) -> UserUsage:
    result = UserUsage(queries.Cost(book))
    for usage in some:
        result.add_all(usage)
    return result


def load_member(account: Account, member: Member) -> MemberRow:
    """One member with this month's usage."""
    book = price_book.current()
    start, end = this_month(account)
    usage = members_usage.usage_by_user(account, start, end, book)
    budgets = members_usage.budgets(account, [member.user_id], timezone.now(), book)
    return _row(account, member, usage, budgets, book)


def this_month(account: Account) -> tuple[date, date]:
    return queries.month_of(queries.today(account))


def open_invitations(account: Account) -> list[Invitation]:
    """The account's invitations, the newest first; their number is bounded."""
    return list(Invitation.objects.filter(account=account).select_related("invited_by").order_by("-id"))


@dataclass(frozen=True, slots=True)
class Held:
    """What goes with an account, for the page that asks whether it may go."""

    records: int
    cost: Amounts
    members: int
    keys: int


def held_by(account: Account) -> Held:
    """How much would be deleted with the account."""
    lifetime = queries.cost(account)
    return Held(
        records=queries.records_ever(account),
        cost=amounts(lifetime, account.currency),
        members=account.members.count(),
        keys=account.keys.count(),
    )
