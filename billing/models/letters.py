"""Mails that are written down before they are sent, and what became of each."""

from typing import Any

from django.db import models
from django.utils import timezone


class Letter(models.Model):
    """One mail to staff. Written by `billing.letters` only, by updates that say which state they expect.

    `attempts` with `claimed_until` says who is sending it: a worker that was killed loses it when that
    instant is over. What is withheld had nobody left who may read it.
    """

    class State(models.IntegerChoices):
        WAITING = 0, "waiting"
        SENT = 1, "sent"
        FAILED = 2, "failed"
        WITHHELD = 3, "withheld"

    state = models.SmallIntegerField(choices=State, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0, help_text="How often it was begun.")
    due_at = models.DateTimeField("next attempt", default=timezone.now)
    claimed_until = models.DateTimeField(null=True)
    recipient: Any = models.TextField("sent to", blank=True, default="")
    error = models.CharField("last error", max_length=500, blank=True, default="")
    created_at = models.DateTimeField("decided", default=timezone.now)
    sent_at = models.DateTimeField("sent", null=True)

    class Meta:
        abstract = True
