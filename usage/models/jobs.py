"""Work that is done in the background: jobs, and the schedule that queues some of them by the clock."""

from django.db import models
from django.utils import timezone

from accounts.fields import ExactCharField


class Job(models.Model):
    """One piece of work. Written by `usage.queue` only, by updates that say which state they expect.

    `key` names the work. With `turn` it is unique: the same work waits at most once and
    runs at most once, and a request that comes while it runs waits for its own turn.
    (A unique constraint with a condition would say the same; MariaDB has none.)
    """

    class State(models.IntegerChoices):
        QUEUED = 0, "waits"
        RUNNING = 1, "runs"
        DONE = 2, "done"
        DEAD = 3, "died"

    name = ExactCharField(max_length=100, help_text="The function that does it, as it was registered.")
    arguments = models.JSONField(default=dict)
    # Null, because any number of jobs have none.
    key = ExactCharField(max_length=200, null=True)
    turn = models.SmallIntegerField(null=True, default=State.QUEUED, help_text="The state; empty at its end.")
    state = models.SmallIntegerField(choices=State, default=State.QUEUED)
    run_at = models.DateTimeField("due", default=timezone.now)
    attempts = models.PositiveIntegerField(default=0, help_text="How often it was begun.")
    claimed_by = ExactCharField("worker", max_length=100, blank=True, default="")
    claimed_at = models.DateTimeField("begun", null=True)
    claimed_until = models.DateTimeField("lease ends", null=True)
    error = models.TextField(blank=True, default="", help_text="Of the last attempt that failed.")
    created_at = models.DateTimeField("queued", default=timezone.now)
    finished_at = models.DateTimeField("ended", null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("key", "turn"), name="usage_job_once"),)
        indexes = (
            models.Index(fields=("state", "run_at"), name="usage_job_due"),
            models.Index(fields=("state", "finished_at"), name="usage_job_finished"),
        )

    def __str__(self) -> str:
        return f"job {self.pk}: {self.name}"

    @property
    def last_line(self) -> str:
        """What went wrong, without the traceback."""
        return last_line(self.error)


def last_line(error: str) -> str:
    """The message of a traceback."""
    lines = error.strip().splitlines()
    return lines[-1].strip() if lines else ""


class Schedule(models.Model):
    """When a scheduled job is queued next. Whoever moves `next_run_at` on queues it, in one transaction."""

    name = ExactCharField(max_length=100, unique=True)
    next_run_at = models.DateTimeField("next run")
    last_run_at = models.DateTimeField("last run", null=True)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "schedule"

    def __str__(self) -> str:
        return self.name
