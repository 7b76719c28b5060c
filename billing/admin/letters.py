"""What the lists of mails to staff have in common: their state, and sending them again."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from accounts.admin.acts import Act, Deed, asked_first, known_id
from accounts.admin.base import ViewOnly
from accounts.admin.display import NONE, badge, moment_column
from accounts.admin.fields import OptionalReasonForm
from accounts.admin.paging import CappedList
from billing import letters
from billing.models.letters import Letter

TONES = {
    Letter.State.WAITING: "plain",
    Letter.State.SENT: "good",
    Letter.State.FAILED: "bad",
    Letter.State.WITHHELD: "warn",
}


def state_badge(value: int) -> str:
    state = Letter.State(value)
    return badge(str(state.label), TONES[state])


class Letters(CappedList, ViewOnly):
    """Mails that were written down: looked at, and sent again where they failed."""

    ordering = ("-pk",)
    sortable_by = ()

    decided = moment_column("created_at", "decided", seconds=True)
    sent = moment_column("sent_at", "sent", seconds=True)
    due = moment_column("due_at", "next attempt", seconds=True)

    @display(description="state")
    def state_badge(self, row: Letter) -> str:
        return state_badge(row.state)

    @display(description="attempts")
    def attempts_shown(self, row: Letter) -> str:
        return f"{row.attempts} of {letters.ATTEMPTS}" if row.attempts else NONE

    @display(description="sent to")
    def recipient_shown(self, row: Letter) -> str:
        return row.recipient or NONE

    @display(description="error")
    def error_shown(self, row: Letter) -> str:
        return row.error or NONE


def is_over(model: Any, object_id: Any, **conditions: Any) -> bool:
    """Whether a mail failed or was withheld, so that it may be sent again."""
    over = model.objects.filter(state__in=(Letter.State.FAILED, Letter.State.WITHHELD), **conditions)
    return object_id is None or over.filter(pk=known_id(object_id)).exists()


def ask_to_retry(
    model_admin: Any, request: HttpRequest, row: Letter, retry: Callable[[], bool], noun: str
) -> HttpResponse:
    """The page that asks, and the deed."""
    act = Act(
        title="Send this mail again?",
        text="It begins anew with all its attempts, and with the figures as they are then.",
        facts=[("What", str(row)), ("State", state_badge(row.state)), ("Error", row.error or NONE)],
        submit="Send again",
    )
    deed = Deed(retry, f"{noun}.retried", "The mail is sent again.", "The mail waits or was sent already.")
    return asked_first(model_admin, request, row, act, deed, OptionalReasonForm(request.POST or None))
