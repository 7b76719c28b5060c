"""Meters, and what limits them: quotas, windows, balances, reservations, refusals.

Amounts are whole numbers in the places of their meter (`Meter.places`): 10⁻¹⁰ USD of
cost, 10⁻⁴ of everything else. No foreign key here has a database constraint.
"""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from accounts.fields import BytesField, ExactCharField
from accounts.models import Account, Key
from usage.fields import COST_PLACES, QUANTITY_PLACES, CostField, ScaledField, WholeField
from usage.models.catalogue import CatalogueRow, Model, Operation, valid_slug
from usage.models.ledger import Campaign, Status, reference


class Meter(CatalogueRow):
    """A sum of units, a count of records, or the cost itself, over some operations or all.

    Meters are counted from rollups, so one added today knows all past usage.
    Failed calls count in cost meters only; informational units never count.
    """

    class Aggregation(models.TextChoices):
        SUM = "sum", "sum of units"
        COUNT = "count", "count of records"
        COST = "cost", "cost"

    slug = ExactCharField(max_length=64, unique=True, validators=[valid_slug])
    name = models.CharField(max_length=100)
    aggregation = models.CharField(max_length=5, choices=Aggregation)
    units = models.JSONField(default=list, blank=True, help_text="Unit slugs that a sum adds up.")
    operations = models.JSONField(
        default=list, blank=True, help_text="Operation slugs; empty: all operations."
    )
    shown_as = models.CharField(max_length=32, help_text="The unit that people read, such as images.")

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.slug

    @property
    def places(self) -> int:
        """Decimal places of the whole numbers that amounts of this meter are stored as."""
        return COST_PLACES if self.aggregation == self.Aggregation.COST else QUANTITY_PLACES

    def clean(self) -> None:
        for field in ("units", "operations"):
            value = getattr(self, field)
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise ValidationError({field: "A list of slugs."})
        if bool(self.units) != (self.aggregation == self.Aggregation.SUM):
            raise ValidationError({"units": "A sum names its units; a count or a cost has none."})


class Scope(models.TextChoices):
    """Whose usage a quota counts; `scope_id` names the user, campaign or key, and is 0 for the account."""

    ACCOUNT = "account"
    MEMBER = "member"
    CAMPAIGN = "campaign"
    KEY = "key"


class Enforcement(models.TextChoices):
    HARD = "hard", "hard: refuse what would pass the limit"
    SOFT = "soft", "soft: allow, and warn"
    NONE = "none", "none: only show"


class WindowKind(models.TextChoices):
    BILLING_PERIOD = "billing_period"
    CALENDAR_MONTH = "calendar_month"
    WEEK = "week"
    DAY = "day"


class Terms(models.Model):
    """What usage has to know of an account's agreement: its billing periods' beginning, rates and alerts.

    Written by whoever changes the plan; usage itself has never heard of plans.
    """

    account = models.OneToOneField(
        Account, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+"
    )
    anchor_day = models.DateField(help_text="The local day on which its first billing period began.")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveBigIntegerField(null=True, blank=True)
    alerts = models.BooleanField(default=True, help_text="Whether it is alerted at thresholds.")

    class Meta:
        verbose_name_plural = "terms"

    def __str__(self) -> str:
        return f"{self.account_id} from {self.anchor_day}"


class Quota(models.Model):
    """A limit on one meter over one kind of window, for a scope, from one instant to another.

    Dated rows: what follows at the end of a period, and what holds again when an
    override ends, stands there already, so that no job has to run at that moment.
    """

    class Source(models.TextChoices):
        PLAN = "plan"
        OVERRIDE = "override"
        OWNER = "owner"

    account = models.ForeignKey(Account, models.DO_NOTHING, db_constraint=False, related_name="+")
    meter = models.ForeignKey(Meter, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.ACCOUNT)
    scope_id = models.BigIntegerField(default=0)
    window = models.CharField(
        max_length=14,
        choices=WindowKind,
        blank=True,
        help_text="Empty: the window that the plan names for this meter, else the calendar month.",
    )
    months = models.PositiveSmallIntegerField(default=1, help_text="Length of the plan's billing period.")
    limit = WholeField(null=True, blank=True, help_text="Empty: unlimited. 0: none at all.")
    included = WholeField(null=True, blank=True, help_text="What the plan's price covers.")
    overage_price = ScaledField("overage price in USD", places=10, null=True, blank=True)
    enforcement = models.CharField(max_length=4, choices=Enforcement, default=Enforcement.HARD)
    source = models.CharField(max_length=8, choices=Source)
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    set_by = models.CharField(max_length=254, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.meter} for {self.account}"


class Window(models.Model):
    """One stretch of time of one account, half-open, that quotas of one kind share. Never recomputed."""

    class Kind(models.TextChoices):
        BILLING_MONTH = "billing_month"
        BILLING_YEAR = "billing_year"
        CALENDAR_MONTH = "calendar_month"
        WEEK = "week"
        DAY = "day"

    account = reference(Account)
    kind = models.CharField(max_length=14, choices=Kind)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    is_copied = models.BooleanField(default=False, help_text="Its instants came from outside.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "kind", "starts_at"), name="usage_window_once"),
        )
        indexes = (models.Index(fields=("ends_at",), name="usage_window_end"),)  # those that are open now

    def __str__(self) -> str:
        return f"{self.kind} from {self.starts_at:%Y-%m-%d %H:%M}"


class Balance(models.Model):
    """What was used and is held of one meter by one scope in one window, and the limit in force.

    Rows exist for quotas in force and for windows that were open when theirs were; they
    are exact from the moment they are made. One that nobody keeps any longer is deleted.

    `next_threshold_at` is the amount at which somebody is to be alerted next: None for
    never, 0 for not yet worked out (`usage.alerts.crossings` does). The database itself
    keeps `is_crossed`, so that recording says nothing of alerts, and an index finds what
    recording has made to cross.
    """

    account = reference(Account)
    window = reference(Window)
    meter = reference(Meter)
    scope = models.CharField(max_length=8, choices=Scope)
    scope_id = models.BigIntegerField()
    used = WholeField(default=0)
    held = WholeField(default=0)
    limit = WholeField(null=True, db_column="limit_in_force")
    next_threshold_at = WholeField(null=True, default=0)
    is_crossed = models.GeneratedField(
        expression=models.Q(used__gte=models.F("next_threshold_at")),  # type: ignore[arg-type]
        output_field=models.BooleanField(null=True),
        db_persist=True,
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("window", "meter", "scope", "scope_id"), name="usage_balance_once"
            ),
        )
        indexes = (
            models.Index(fields=("account",), name="usage_balance_account"),
            models.Index(fields=("is_crossed",), name="usage_balance_crossed"),
        )

    def __str__(self) -> str:
        return f"{self.used} used and {self.held} held"


class Reservation(models.Model):
    """Room held before the work; settled with what was really used, or released, or expired.

    `lines`, `cost` and the ids are what a record of the announced usage would have, so
    that a quota which begins meanwhile knows what to hold, too.
    """

    class State(models.IntegerChoices):
        OPEN = 0, "open"
        SETTLED = 1, "settled"
        RELEASED = 2, "released"
        EXPIRED = 3, "expired"

    account = reference(Account)
    request_hash = BytesField(length=16, help_text="Of the Idempotency-Key; random without one.")
    content_hash = BytesField(length=16)
    key = reference(Key, null=True)
    user = reference(settings.AUTH_USER_MODEL, null=True)
    operation = reference(Operation)
    model = reference(Model)
    campaign = reference(Campaign, null=True)
    status = models.SmallIntegerField(choices=Status)
    priced = models.BooleanField()
    cost = CostField(null=True)
    lines = models.TextField()
    occurred_at = models.DateTimeField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    state = models.SmallIntegerField(choices=State, default=State.OPEN)
    resolved_at = models.DateTimeField(null=True)
    record_id = models.BigIntegerField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "request_hash"), name="usage_reservation_once"),
        )
        indexes = (
            models.Index(fields=("account", "state", "expires_at"), name="usage_reservation_open"),
            models.Index(fields=("state", "expires_at"), name="usage_reservation_expiry"),
        )

    def __str__(self) -> str:
        return f"res_{self.pk}"


class Hold(models.Model):
    """What an open reservation holds of one balance; gone as soon as it is resolved."""

    pk = models.CompositePrimaryKey("reservation_id", "balance_id")
    reservation = reference(Reservation)
    balance = reference(Balance)
    account = reference(Account)
    amount = WholeField()

    class Meta:
        indexes = (
            models.Index(fields=("balance",), name="usage_hold_balance"),
            models.Index(fields=("account",), name="usage_hold_account"),
        )

    def __str__(self) -> str:
        return f"{self.amount} of {self.balance_id} for res_{self.reservation_id}"


class Refusal(models.Model):
    """Permission that was denied: how often in one minute. Shown as usage with status rate_limited."""

    account_id = models.BigIntegerField()
    key_id = models.BigIntegerField(help_text="0: a signed-in user.")
    operation_id = models.BigIntegerField()
    minute = models.DateTimeField(help_text="The minute's first instant.")
    local_day = models.DateField(help_text="The minute's day in the account's own time zone, frozen.")
    attempts = models.BigIntegerField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("account_id", "minute", "operation_id", "key_id"), name="usage_refusal_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.attempts} refused at {self.minute:%Y-%m-%d %H:%M}"
