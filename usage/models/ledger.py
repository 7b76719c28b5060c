"""The ledger: one row per fact, never edited, and the totals kept in the same transaction.

No foreign key here has a database constraint: the check would lock the parent
row on every insert. Plain indexes only for what is asked.
"""

from django.conf import settings
from django.db import models

from accounts.append_only import append_only
from accounts.fields import BytesField, ExactCharField
from accounts.models import Account, Key
from usage.fields import CostField, QuantityField
from usage.models.catalogue import Model, Operation


def reference(to: type[models.Model] | str, *, null: bool = False) -> models.ForeignKey:
    """A foreign key that the database neither checks nor indexes."""
    return models.ForeignKey(
        to, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+", null=null
    )


class Session(models.Model):
    """A conversation or run that records name, such as a chat."""

    account = reference(Account)
    name = ExactCharField(max_length=200)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "name"), name="usage_session_once"),)

    def __str__(self) -> str:
        return self.name


class Campaign(models.Model):
    """Usage that belongs together, such as a spring sale; made by the first record that names it."""

    account = reference(Account)
    name = ExactCharField(max_length=200)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "name"), name="usage_campaign_once"),)

    def __str__(self) -> str:
        return self.name


class Status(models.IntegerChoices):
    SUCCESS = 0, "success"
    ERROR = 1, "error"
    RATE_LIMITED = 2, "rate_limited"


@append_only
class Record(models.Model):
    """One fact: account, operation, model, quantities by unit, when, and its frozen cost lines.

    `lines` is a JSON list, one entry per quantity as whole numbers of 10⁻⁴:
    `[unit id, quantity]` for what is kept but not priced (informational, stated or refused),
    `[unit id, quantity, rate id, cost]` for a priced line, cost in 10⁻¹⁰ USD,
    `[unit id, quantity, null, null]` for an unpriced one,
    `[0, 10000, null, cost, amount, currency]` for a cost that the client stated, and
    `[unit id, 0, rate id, cost, priced quantity]` in an adjustment, which counts nothing and prices
    a quantity of the record that it corrects. Its `priced` says whether that record is so priced whole.
    """

    account = reference(Account)
    event_hash = BytesField(length=16)
    event_id = ExactCharField(max_length=200)
    content_hash = BytesField(length=16)
    batch = models.BigIntegerField(help_text="Unique to the insert: tells new rows from known ones.")
    key = reference(Key, null=True)
    user = reference(settings.AUTH_USER_MODEL, null=True)
    operation = reference(Operation)
    model = reference(Model)
    session = reference(Session, null=True)
    campaign = reference(Campaign, null=True)
    reference = ExactCharField(
        max_length=200, null=True, help_text="The client's own id, such as a generation."
    )
    status = models.SmallIntegerField(choices=Status)
    estimated = models.BooleanField(default=False)
    priced = models.BooleanField(default=True)
    counts = models.SmallIntegerField(default=1, help_text="1 normal, 0 adjustment, −1 reversal.")
    cost = CostField("cost in USD", null=True)
    lines = models.TextField()
    latency_ms = models.IntegerField(null=True)
    local_day = models.DateField(help_text="The day in the account's own time zone, frozen.")
    occurred_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    corrects = models.BigIntegerField(null=True, help_text="The record that this one reverses or adjusts.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "event_hash"), name="usage_record_once"),)
        indexes = (
            models.Index(fields=("account", "occurred_at"), name="usage_record_history"),
            models.Index(fields=("account", "session", "occurred_at"), name="usage_record_session"),
            models.Index(fields=("account", "reference"), name="usage_record_reference"),
        )
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"rec_{self.pk}"


@append_only
class RecordDetail(models.Model):
    """What can be erased of a record without touching its sums; a row only where there is something."""

    record = models.OneToOneField(
        Record, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="detail"
    )
    account = reference(Account)
    endpoint = models.CharField(max_length=500, blank=True)
    request_id = ExactCharField(max_length=200, blank=True)
    ip_address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=500, blank=True)
    metadata = models.TextField(blank=True, help_text="JSON, secrets redacted.")

    class Meta:
        indexes = (models.Index(fields=("account", "request_id"), name="usage_detail_request"),)

    def __str__(self) -> str:
        return f"rec_{self.record_id}"


@append_only
class Reversal(models.Model):
    """Which record undoes which: the primary key makes a second reversal impossible."""

    original = models.OneToOneField(
        Record, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="reversal"
    )
    account = reference(Account)
    record_id = models.BigIntegerField()
    key = reference(Key, null=True)
    reason = models.TextField()

    class Meta:
        indexes = (models.Index(fields=("account",), name="usage_reversal_account"),)

    def __str__(self) -> str:
        return f"rec_{self.record_id} reverses rec_{self.original_id}"


class RollupKey(models.Model):
    """What totals are kept by: 0 stands for none, since two NULLs would be two rows."""

    account_id = models.BigIntegerField()
    local_day = models.DateField()
    operation_id = models.BigIntegerField()
    model_id = models.BigIntegerField()
    status = models.SmallIntegerField(choices=Status)
    user_id = models.BigIntegerField()
    campaign_id = models.BigIntegerField()
    key_id = models.BigIntegerField()

    class Meta:
        abstract = True


ROLLUP_KEY = (
    "account_id",
    "local_day",
    "operation_id",
    "model_id",
    "status",
    "user_id",
    "campaign_id",
    "key_id",
)


class Rollup(RollupKey):
    """Totals of records per account, local day and dimension, kept with every record."""

    pk = models.CompositePrimaryKey(*ROLLUP_KEY)
    records = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    cost = CostField()
    latency_count = models.BigIntegerField()
    latency_sum_ms = models.BigIntegerField()
    latency_max_ms = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.account_id} {self.local_day}"


class RollupUnit(RollupKey):
    """Totals of quantities: the same key and the unit (0 for a cost that the client stated)."""

    unit_id = models.BigIntegerField()
    pk = models.CompositePrimaryKey(*ROLLUP_KEY, "unit_id")
    records = models.BigIntegerField()
    quantity = QuantityField()
    cost = CostField()
    unpriced_quantity = QuantityField()

    def __str__(self) -> str:
        return f"{self.account_id} {self.local_day} {self.unit_id}"


class RollupDay(models.Model):
    """The rollups of an account's local day summed up: what it ever used is read by one row a day."""

    account_id = models.BigIntegerField()
    local_day = models.DateField()
    pk = models.CompositePrimaryKey("account_id", "local_day")
    records = models.BigIntegerField()
    cost = CostField()

    def __str__(self) -> str:
        return f"{self.account_id} {self.local_day}"


class ReferenceName(models.Model):
    """A reference that a month's records name: the primary key decides which of them was the first."""

    account_id = models.BigIntegerField()
    month = models.DateField(help_text="Its first day.")
    name = ExactCharField(max_length=200)
    pk = models.CompositePrimaryKey("account_id", "month", "name")

    def __str__(self) -> str:
        return f"{self.account_id} {self.month:%Y-%m} {self.name}"


class ReferenceCount(models.Model):
    """How many references a month's records name (usage.references)."""

    account_id = models.BigIntegerField()
    month = models.DateField(help_text="Its first day.")
    names = models.BigIntegerField()
    pk = models.CompositePrimaryKey("account_id", "month")

    def __str__(self) -> str:
        return f"{self.account_id} {self.month:%Y-%m}: {self.names}"


class Replay(models.Model):
    """A trace replayed into an account: its anchor makes running it again all duplicates."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    source = ExactCharField(max_length=64, help_text="SHA-256 of the file and the options.")
    anchor = models.DateTimeField(help_text="The instant before which the trace was laid.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "source"), name="usage_replay_once"),)

    def __str__(self) -> str:
        return f"{self.account} {self.anchor}"
