"""Campaigns: what each used and cost, its budgets; made, archived and restored by owners and admins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.errors import Invalid
from accounts.pages import AccountRequest, account_page, managers_change
from usage import campaigns as all_campaigns
from usage import formatting, price_book, queries
from usage.amounts import Amounts, amounts
from usage.campaigns import CampaignUsage, campaign_id_text
from usage.costs import Cost
from usage.fields import QUANTITY_PLACES, scale_down
from usage.models import Campaign, Scope
from usage.price_book import PriceBook
from usage.quotas import budgets
from usage.quotas.budgets import Standing

CAMPAIGNS_A_PAGE = 25
UNITS_SHOWN = 4


class NewCampaignForm(forms.Form):
    name = forms.CharField(
        label="New campaign",
        max_length=all_campaigns.NAME_AT_MOST,
        help_text="Records that name it count in it, such as: spring sale.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Give the campaign a name."},
    )


@dataclass(frozen=True, slots=True)
class ShownCampaign:
    """A campaign with its usage of the month and of all time, and the limits that are its own."""

    campaign: Campaign
    usage: CampaignUsage
    quantities: list[tuple[Decimal, str]]
    more_units: int
    this_month: Amounts
    lifetime: Amounts
    lifetime_records: int
    last_used: str
    budgets: Sequence[Standing]

    @property
    def id(self) -> str:
        return campaign_id_text(self.campaign.pk)

    @property
    def records_query(self) -> str:
        return urlencode({"campaign": self.campaign.name})


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_change
def campaigns(request: AccountRequest) -> HttpResponse:
    """Campaigns, the most expensive of the month first; ?archived=true shows those put away."""
    form = NewCampaignForm()
    if request.method == "POST":
        form = NewCampaignForm(request.POST)
        if _act(request, form):
            return redirect(request.get_full_path())
    account, asked = request.account, _Asked(request)
    book = price_book.current()
    today = queries.today(account)
    page = all_campaigns.list_page(
        account,
        queries.month_of(today),
        asked.place,
        CAMPAIGNS_A_PAGE,
        archived=asked.archived,
        search=asked.search,
    )
    context = {
        "form": form,
        "asked": asked,
        "campaigns": shown_campaigns(request, page.campaigns, book),
        "next": asked.beside(page.next),
        "previous": asked.beside(page.previous),
        "month": formatting.month(today),
        "has_any": bool(page.campaigns) or Campaign.objects.filter(account=account).exists(),
    }
    return render(request, "settings/campaigns.html", context)


def _act(request: AccountRequest, form: NewCampaignForm) -> bool:
    """Do what was asked; False when the form says what is wrong."""
    who = {"actor": request.user, "request": request}
    if wanted := request.POST.get("archive"):
        done = all_campaigns.archive(request.account, wanted, **who)  # type: ignore[arg-type]
        messages.success(request, f"“{done.name}” is archived. What names it is still recorded.")
        return True
    if wanted := request.POST.get("restore"):
        done = all_campaigns.restore(request.account, wanted, **who)  # type: ignore[arg-type]
        messages.success(request, f"“{done.name}” is back in the list.")
        return True
    if not form.is_valid():
        return False
    try:
        made, is_new = all_campaigns.create(request.account, form.cleaned_data["name"], **who)  # type: ignore[arg-type]
    except Invalid as error:
        form.add_error("name", error.message)
        return False
    if not is_new:
        archived = " It is archived; restore it there." if made.archived_at else ""
        form.add_error("name", f"There is a campaign of this name already.{archived}")
        return False
    messages.success(request, f"“{made.name}” is there. Records count in it when they name it.")
    return True


class _Asked:
    """What the address asks for: the archived ones or the others, a part of a name, a place in the list."""

    def __init__(self, request: AccountRequest) -> None:
        self.archived = request.GET.get("archived") == "true"
        self.search = request.GET.get("q", "").strip()[: all_campaigns.NAME_AT_MOST]
        try:
            self.place = all_campaigns.parse_place(request.GET.get("cursor"))
        except Invalid:  # a link cut short leads to the first page
            self.place = None
        self._kept = {"account": request.GET["account"]} if "account" in request.GET else {}

    def _query(self, **more: str) -> str:
        wanted = {**self._kept, **({"q": self.search} if self.search else {}), **more}
        return f"?{urlencode(wanted)}" if wanted else ""

    def beside(self, place: all_campaigns.Place | None) -> str | None:
        if place is None:
            return None
        return self._query(**({"archived": "true"} if self.archived else {}), cursor=str(place))

    @property
    def active_query(self) -> str:
        return self._query()

    @property
    def archived_query(self) -> str:
        return self._query(archived="true")


def shown_campaigns(
    request: AccountRequest, found: Sequence[Campaign], book: PriceBook
) -> list[ShownCampaign]:
    """Campaigns as the page shows them; the queries do not grow with them."""
    account, ids = request.account, [campaign.pk for campaign in found]
    today = queries.today(account)
    month = all_campaigns.usage_of(account, ids, queries.month_of(today), book)
    lifetime = all_campaigns.lifetime_of(account, ids, book)
    limited = budgets.by_scope_id(budgets.standing(account, timezone.now(), book, Scope.CAMPAIGN, ids))
    return [
        _shown(
            campaign, month[campaign.pk], lifetime[campaign.pk], limited.get(campaign.pk, ()), today, request
        )
        for campaign in found
    ]


def _shown(
    campaign: Campaign,
    usage: CampaignUsage,
    lifetime: tuple[int, Cost],
    limited: Sequence[Standing],
    today: date,
    request: AccountRequest,
) -> ShownCampaign:
    book, account = usage.cost.book, request.account
    used = [
        (scale_down(total, QUANTITY_PLACES) or Decimal(0), book.unit(unit_id).slug)
        for unit_id, total in usage.quantities.items()
    ]
    records, cost = lifetime
    return ShownCampaign(
        campaign,
        usage,
        used[:UNITS_SHOWN],
        max(0, len(used) - UNITS_SHOWN),
        amounts(usage.cost, account),
        amounts(cost, account),
        records,
        formatting.day(usage.last_used_day, today) if usage.last_used_day else "",
        limited,
    )
