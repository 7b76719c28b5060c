"""Background jobs: what waits, runs and died; dead ones are brought back here."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from accounts.admin.acts import Act, Deed, asked_first, known_id, object_or_404
from accounts.admin.base import TollgateAdmin, ViewOnly
from accounts.admin.display import NONE, badge, code, moment, moment_column, shortened
from accounts.admin.fields import OptionalReasonForm
from accounts.admin.paging import CappedList
from accounts.admin.trail import written_out
from usage import queue
from usage.models import Job, Schedule
from usage.schedule import scheduled_jobs

TONES = {
    Job.State.QUEUED: "plain",
    Job.State.RUNNING: "warn",
    Job.State.DONE: "good",
    Job.State.DEAD: "bad",
}


@admin.register(Job)
class JobAdmin(CappedList, ViewOnly, TollgateAdmin):
    list_display = ("name_shown", "state_badge", "due", "attempts_shown", "begun", "ended", "what_failed")
    list_display_links = ("name_shown",)
    list_filter = (("state", ChoicesDropdownFilter),)
    search_fields = ("name__startswith", "=key")
    search_help_text = "Beginning of the job's name, or its whole key"
    ordering = ("-pk",)
    sortable_by = ()
    empty_text = "The application queues jobs by itself; what is done is kept for three days."
    actions_detail = ("retry",)
    fieldsets = (
        (
            None,
            {"fields": (("name_shown", "state_badge"), ("key_shown", "attempts_shown"), "arguments_shown")},
        ),
        ("When", {"fields": (("queued", "due"), ("begun", "ended"), ("lease", "worker"))}),
        ("Last error", {"fields": ("error_shown",)}),
    )

    queued = moment_column("created_at", "queued", seconds=True)
    due = moment_column("run_at", "due", seconds=True)
    begun = moment_column("claimed_at", "last begun", seconds=True)
    ended = moment_column("finished_at", "ended", seconds=True)
    lease = moment_column("claimed_until", "lease ends", seconds=True)

    @display(description="job")
    def name_shown(self, job: Job) -> str:
        return code(job.name)

    @display(description="state")
    def state_badge(self, job: Job) -> str:
        state = Job.State(job.state)
        return badge(str(state.label), TONES[state])

    @display(description="attempts")
    def attempts_shown(self, job: Job) -> str:
        known = queue.DEFINITIONS.get(job.name)
        return f"{job.attempts} of {known.attempts}" if known else str(job.attempts)

    @display(description="error")
    def what_failed(self, job: Job) -> str:
        return shortened(job.last_line)

    @display(description="key")
    def key_shown(self, job: Job) -> str:
        return code(job.key)

    @display(description="worker")
    def worker(self, job: Job) -> str:
        return code(job.claimed_by)

    @display(description="arguments")
    def arguments_shown(self, job: Job) -> str:
        return written_out(job.arguments)

    @display(description="error")
    def error_shown(self, job: Job) -> str:
        return format_html('<pre class="tg-json">{}</pre>', job.error) if job.error else NONE

    def has_retry_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("usage.change_job"):
            return False
        dead = Job.objects.filter(state=Job.State.DEAD)
        return object_id is None or dead.filter(pk=known_id(object_id)).exists()

    @action(description="Retry", url_path="retry", permissions=["retry"], icon="replay")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job: Job = object_or_404(self, request, object_id)
        act = Act(
            title=f"Retry {job}?",
            text="The job begins anew with all its attempts. Every job may safely be run twice.",
            facts=[("Died", moment(job.finished_at, seconds=True)), ("Error", job.last_line or NONE)],
            submit="Retry job",
        )
        deed = Deed(
            lambda: queue.retry(job.pk), "job.retried", f"{job} waits again.", f"{job} waits again already."
        )
        return asked_first(self, request, job, act, deed, OptionalReasonForm(request.POST or None))


@admin.register(Schedule)
class ScheduleAdmin(ViewOnly, TollgateAdmin):
    list_display = ("name_shown", "every", "next_run", "last_run")
    list_display_links = ("name_shown",)
    search_fields = ("name",)
    search_help_text = "Name"
    sortable_by = ()
    empty_text = "The first worker that starts writes the schedule down."
    fields = ("name_shown", "every", "next_run", "last_run")

    next_run = moment_column("next_run_at", "next run", seconds=True)
    last_run = moment_column("last_run_at", "last run", seconds=True)

    @display(description="job")
    def name_shown(self, row: Schedule) -> str:
        return code(row.name)

    @display(description="every")
    def every(self, row: Schedule) -> str:
        return str(scheduled_jobs().get(row.name, "not any more"))
