"""What the product is compared with over HTTP: the least a DRF view does, and what one would write first."""

from collections import defaultdict
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_tracking.mixins import LoggingMixin

from accounts.authentication import KeyAuthentication, account_of
from accounts.models import Account
from tests.benchmarks.models import Call, Event, Total
from usage.middleware import metered
from usage.models import Rate


class Bare(APIView):
    """Answers, and does nothing else: not even reading the body."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> Response:
        return Response({"ok": True}, status=201)


@csrf_exempt
def empty(request: HttpRequest) -> HttpResponse:
    """Answers, and does nothing else, without DRF."""
    return HttpResponse("ok\n", content_type="text/plain")


@metered("api_call", hold=False)
class Looked(Bare):
    """The same, let in only while there is room for a call."""


@metered("api_call")
class Metered(Bare):
    """The same with room held for a call before, and the call recorded after."""


class Tracked(LoggingMixin, Bare):
    """The same with what drf-api-tracking logs of each request: one row, which counts for nothing."""

    parser_classes = (JSONParser,)


class Naive(APIView):
    """The limit that one writes first: add up what the table holds, compare, insert."""

    authentication_classes = (KeyAuthentication,)
    scope = "usage:write"
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)

    def post(self, request: Request, limit: int) -> Response:
        account = account_of(request)
        event: dict = request.data  # type: ignore[assignment]
        now = timezone.now()
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        calls = Call.objects.filter(account=account, occurred_at__gte=month)
        used = calls.aggregate(all=Sum("requests"))["all"] or 0
        asked = event["quantities"]["requests"]
        if used + asked > limit:
            return Response({"error": "quota_exceeded"}, status=429)
        self._store(Call(account=account, event_id=event["event_id"], requests=asked, occurred_at=now))
        return Response({"ok": True}, status=201)

    def _store(self, call: Call) -> None:
        call.save(force_insert=True)


class NaiveOnce(Naive):
    """The same, and each event once: look whether it is there, insert it if not."""

    def _store(self, call: Call) -> None:
        if not Call.objects.filter(account=call.account, event_id=call.event_id).exists():
            call.save(force_insert=True)


class EventSerializer(serializers.Serializer):
    event_id = serializers.CharField(max_length=200)
    operation = serializers.SlugField(max_length=64)
    provider = serializers.CharField(max_length=64)
    model = serializers.CharField(max_length=128)
    quantities = serializers.DictField(child=serializers.DecimalField(16, 4, min_value=0))
    occurred_at = serializers.DateTimeField()
    latency_ms = serializers.IntegerField(min_value=0, required=False)
    session = serializers.CharField(max_length=200, required=False, default="")
    endpoint = serializers.CharField(max_length=500, required=False, default="")
    request_id = serializers.CharField(max_length=200, required=False, default="")


class Idiomatic(APIView):
    """ListSerializer, one query for known ids, bulk_create, and an F() update per total."""

    authentication_classes = (KeyAuthentication,)
    scope = "usage:write"
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)

    def post(self, request: Request) -> Response:
        serializer = EventSerializer(data=request.data, many=True)
        serializer.is_valid(raise_exception=True)
        sent = serializer.validated_data
        account = account_of(request)
        with transaction.atomic():
            events = self._store(account, sent)
            self._add_to_totals(account, events)
        return Response({"accepted": len(events), "duplicates": len(sent) - len(events), "rejected": []})

    def _store(self, account: Account, sent: list[dict]) -> list[Event]:
        ids = [event["event_id"] for event in sent]
        known = set(
            Event.objects.filter(account=account, event_id__in=ids).values_list("event_id", flat=True)
        )
        prices = self._prices()
        new = [event for event in sent if event["event_id"] not in known]
        for event in new:
            event["costs"] = {
                unit: quantity * prices.get((event["provider"], event["model"], unit), Decimal(0))
                for unit, quantity in event["quantities"].items()
            }
        rows = [self._row(account, **event) for event in new]
        return Event.objects.bulk_create(rows)

    def _prices(self) -> dict[tuple[str, str, str], Decimal]:
        rows = Rate.objects.values_list("config__provider", "config__model", "unit__slug", "price", "per")
        return {(provider, model, unit): price / per for provider, model, unit, price, per in rows}

    def _row(self, account: Account, costs: dict[str, Decimal], **event: object) -> Event:
        row = Event(account=account, cost=sum(costs.values(), Decimal(0)), **event)
        row.quantities = {unit: str(quantity) for unit, quantity in row.quantities.items()}
        row.costs = costs  # type: ignore[attr-defined]
        return row

    def _add_to_totals(self, account: Account, events: list[Event]) -> None:
        sums: dict[tuple, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for event in events:
            for unit, cost in event.costs.items():  # type: ignore[attr-defined]
                total = sums[(event.occurred_at.date(), event.operation, event.model, unit)]
                total[0] += Decimal(event.quantities[unit])
                total[1] += cost
        for (day, operation, model, unit), (quantity, cost) in sorted(sums.items()):
            total_row, _ = Total.objects.get_or_create(
                account=account, day=day, operation=operation, model=model, unit=unit
            )
            Total.objects.filter(pk=total_row.pk).update(
                quantity=F("quantity") + quantity, cost=F("cost") + cost
            )
