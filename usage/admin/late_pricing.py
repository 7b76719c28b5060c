"""Unpriced usage: what has no price, what one would make of it, and giving it one."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from accounts import audit
from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import badge, linked, moment_column, number, number_column, page_of
from usage import late_pricing, price_book, unpriced
from usage.admin.late_pricing_forms import LatePricingForm
from usage.fields import COST_PLACES, QUANTITY_PLACES, quantity_text, scale_down
from usage.late_pricing import Subject
from usage.models import LatePricing, Model, Operation, Unit, UnpricedDay
from usage.unpriced import Preview, Unpriced

SHOWN_BEFORE = 20


@admin.register(LatePricing)
class LatePricingAdmin(ViewOnly, TollgateAdmin):
    """Its list is the queue of what is unpriced; a row's page is one pricing of it, and how far it is."""

    change_form_template = "admin/usage/latepricing/change_form.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    "what",
                    ("price_link", "asked_by"),
                    "reason",
                    ("asked", "finished"),
                )
            },
        ),
        (
            "Outcome",
            {
                "fields": (
                    ("records_shown", "accounts_shown"),
                    ("quantity_shown", "cost_shown"),
                    ("too_large", "accounts_left_out"),
                )
            },
        ),
    )
    readonly_fields = (
        *("name", "state", "what", "price_link", "asked_by", "reason", "asked", "finished"),
        *("records_shown", "accounts_shown", "quantity_shown", "cost_shown"),
        *("too_large", "accounts_left_out"),
    )
    asked = moment_column("created_at", "asked for", seconds=True)
    finished = moment_column("finished_at", "finished", seconds=True)
    records_shown = number_column("records", "records priced")
    accounts_shown = number_column("accounts", "accounts")

    @display(description="pricing")
    def name(self, asked: LatePricing) -> str:
        return str(asked)

    @display(description="state")
    def state(self, asked: LatePricing) -> str:
        return state_of(asked)

    @display(description="what")
    def what(self, asked: LatePricing) -> str:
        return f"{asked.unit} of {asked.operation} with {asked.model}"

    @display(description="price that was added")
    def price_link(self, asked: LatePricing) -> str:
        return linked(asked.config) if asked.config_id else "none: the list had one"

    @display(description="quantity priced")
    def quantity_shown(self, asked: LatePricing) -> str:
        return number(scale_down(asked.quantity, QUANTITY_PLACES))

    @display(description="cost, USD")
    def cost_shown(self, asked: LatePricing) -> str:
        return number(scale_down(asked.cost, COST_PLACES))

    # Who may see and add prices may see and price what has none.

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("usage.view_pricingconfig")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("operation", "model", "unit")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.price_view)
        where = "price/<int:operation_id>/<int:model_id>/<int:unit_id>/"
        return [path(where, view, name="usage_latepricing_price"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = {name: request.GET.get(name, "")[:128] for name in ("provider", "operation")}
        self.get_queryset(request)[:SHOWN_BEFORE]
        lines = unpriced.queue(price_book.current(), wanted(asked))
        context = {
            "title": "Unpriced usage",
            "rows": [shown_line(line) for line in lines],
            "is_cut": len(lines) == unpriced.ROWS_AT_MOST,
            "asked": asked,
            "is_filtered": any(asked.values()),
            "choices": choices(),
            "before": [
                (row, state_of(row), row_cost(row)) for row in self.get_queryset(request)[:SHOWN_BEFORE]
            ],
        }
        return self._page(request, "admin/usage/latepricing/queue.html", context)

    def price_view(
        self, request: HttpRequest, operation_id: int, model_id: int, unit_id: int
    ) -> HttpResponse:
        """Give one line of the queue a price: fill in, look at what it comes to, apply."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        subject, book = Subject(operation_id, model_id, unit_id), price_book.current()
        check_known(subject)
        line = unpriced.of(subject, book)
        if line is None:
            messages.info(request, "Nothing of this is unpriced any more.")
            return HttpResponseRedirect(reverse("admin:usage_latepricing_changelist"))
        may_act = request.user.has_perm("usage.add_pricingconfig")
        if request.method == "POST" and not may_act:
            raise PermissionDenied
        form = LatePricingForm(line, request.user.has_perm("usage.add_rate"), request.POST or None)
        preview = None
        if request.method == "POST" and form.is_valid():
            if "apply" in request.POST and form.cleaned_data["previewed"] == form.asked:
                return self._apply(request, line, form)
            if "apply" in request.POST:
                messages.warning(request, "Look at what this comes to first; then apply it.")
            preview = previewed(line, form)
            # The page carries what was looked at, so that nothing else is applied.
            form.data = {**form.data.dict(), "previewed": form.asked}  # type: ignore[attr-defined]
        context = {
            "title": f"Price {line.unit} of {line.operation}",
            "line": shown_line(line),
            "form": form if may_act else None,
            "preview": preview and shown_preview(preview, line),
        }
        return self._page(request, "admin/usage/latepricing/price.html", context)

    def _apply(self, request: HttpRequest, line: Unpriced, form: LatePricingForm) -> HttpResponse:
        try:
            asked = apply(request, line, form)
        except IntegrityError:
            messages.error(request, "Somebody else has just added such a price; look again.")
            return HttpResponseRedirect(request.path)
        messages.success(request, "It is being priced; this page shows how far that is.")
        return HttpResponseRedirect(page_of(asked))

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        frame = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, template, {**frame, **context})


def check_known(subject: Subject) -> None:
    """404 for what names nothing."""
    there = (
        Operation.objects.filter(pk=subject.operation_id).exists()
        and Model.objects.filter(pk=subject.model_id).exists()
        and Unit.objects.filter(pk=subject.unit_id).exists()
    )
    if not there:
        raise Http404("There is no such operation, model or unit.")


def wanted(asked: dict[str, str]) -> Q:
    """What the filters ask for."""
    only = Q()
    if asked["provider"]:
        models = Model.objects.filter(provider=asked["provider"])
        only &= Q(model_id__in=list(models.values_list("pk", flat=True)))
    if asked["operation"]:
        operations = Operation.objects.filter(slug=asked["operation"])
        only &= Q(operation_id__in=list(operations.values_list("pk", flat=True)))
    return only


def choices() -> dict[str, list[str]]:
    """The providers and operations that have something unpriced."""
    what = UnpricedDay.objects.order_by()
    models = Model.objects.filter(pk__in=what.values("model_id")).exclude(provider="")
    operations = Operation.objects.filter(pk__in=what.values("operation_id"))
    return {
        "provider": sorted(set(models.values_list("provider", flat=True))),
        "operation": sorted(operations.values_list("slug", flat=True)),
    }


@transaction.atomic
def apply(request: HttpRequest, line: Unpriced, form: LatePricingForm) -> LatePricing:
    """Add the price, if one was filled in, and let a job price what has none; told in the audit trail."""
    user: Any = request.user
    reason, config = form.cleaned_data["reason"].strip(), None
    if form.new_price is not None:
        config = form.new_price.save(user)
        rate = f"{form.new_price.price.normalize():f} USD per {form.new_price.per} {line.unit}"
        after = {"rate": rate, "source": config.source}
        audit.write(
            "price.added", actor=user, subject=str(config), reason=reason, after=after, request=request
        )
    asked = late_pricing.ask(line.subject, user, reason, config)
    audit.write(
        "unpriced_usage.pricing_asked",
        actor=user,
        subject=str(asked),
        reason=reason,
        before={
            "unpriced": f"{quantity_text(line.quantity)} {line.unit}",
            "operation": line.operation,
            "model": str(line.model),
            "accounts": line.accounts,
        },
        after={"price": form.asked},
        request=request,
    )
    return asked


def previewed(line: Unpriced, form: LatePricingForm) -> Preview:
    book = price_book.current()
    return unpriced.preview(line, form.new_price.tried(book) if form.new_price else book)


def state_of(asked: LatePricing) -> str:
    return badge("done", "good") if asked.finished_at else badge("at work", "warn")


def row_cost(asked: LatePricing) -> str:
    return number(scale_down(asked.cost, COST_PLACES))


def shown_line(line: Unpriced) -> dict[str, Any]:
    """A line of the queue with its figures set and its links."""
    subject = line.subject
    ids = (subject.operation_id, subject.model_id, subject.unit_id)
    records = reverse("admin:usage_record_changelist")
    only = f"operation__id__exact={ids[0]}&model__id__exact={ids[1]}&priced__exact=0"
    if line.is_known:
        state = badge("has a price by now", "good")
    else:
        state = badge("no price", "warn") if line.needs_price else badge("a price for a part", "warn")
    return {
        "line": line,
        "quantity": number(scale_down(line.quantity, QUANTITY_PLACES)),
        "records": number(line.records),
        "accounts": number(line.accounts),
        "state": state,
        "price_url": reverse("admin:usage_latepricing_price", args=ids),
        "records_url": f"{records}?{only}",
    }


def shown_preview(preview: Preview, line: Unpriced) -> dict[str, Any]:
    """A preview with its figures set."""
    rest = None
    if not preview.is_estimate:
        rest = line.quantity - preview.quantity
    return {
        "preview": preview,
        "records": number(preview.records),
        "quantity": number(scale_down(preview.quantity, QUANTITY_PLACES)),
        "usd": number(preview.cost.usd),
        "inr": number(preview.cost.inr, "no exchange rate on some days"),
        "rest": number(scale_down(rest, QUANTITY_PLACES)) if rest and rest > 0 else None,
        "more": len(preview.accounts) - len(preview.largest),
        "accounts": [
            {
                "account": linked(one.account),
                "records": number(one.records),
                "quantity": number(scale_down(one.quantity, QUANTITY_PLACES)),
                "usd": number(one.cost.usd),
                "inr": number(one.cost.inr),
            }
            for one in preview.largest
        ],
    }
