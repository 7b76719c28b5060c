"""Jobs of reports and cost alarms by mail. Each is idempotent, and does a bounded step at a time."""

from datetime import timedelta

from django.utils import timezone

from billing import cost_alarms, letters, reports
from billing.models import CostAlarmFiring, ReportSending
from usage.queue import Again, job, scheduled


@scheduled(every=timedelta(minutes=10), at=timedelta(seconds=35))
@job("billing.decide_reports")
def decide_reports() -> None:
    """Queue the net billing reports that are due, and again those whose jobs are gone."""
    reports.decide(timezone.now())
    letters.sweep(ReportSending.objects.all(), reports.SEND_JOB)


@job(reports.SEND_JOB)
def send_report(row_id: int) -> Again | None:
    """Send one report."""
    return reports.send(row_id)


@scheduled(every=timedelta(minutes=1), at=timedelta(seconds=50))
@job("billing.check_cost_alarms")
def check_cost_alarms() -> None:
    """Tell of cost alarms whose amount is reached."""
    cost_alarms.check(timezone.now())
    letters.sweep(CostAlarmFiring.objects.all(), cost_alarms.SEND_JOB)


@job(cost_alarms.SEND_JOB)
def send_cost_alarm(row_id: int) -> Again | None:
    """Send the mail of one firing."""
    return cost_alarms.send(row_id)
