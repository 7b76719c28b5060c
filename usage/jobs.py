"""Usage's own jobs. Each is idempotent, and does a bounded step at a time."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from usage.models import Job
from usage.queue import Again, job, scheduled

DONE_KEPT_FOR = timedelta(days=3)
DEAD_KEPT_FOR = timedelta(days=90)
PRUNED_AT_ONCE = 1_000


@scheduled(every=timedelta(hours=1), at=timedelta(minutes=17))
@job("usage.prune_finished_jobs")
def prune_finished_jobs() -> Again | None:
    """Delete jobs that were done or have died long ago."""
    now = timezone.now()
    old = Q(state=Job.State.DONE, finished_at__lt=now - DONE_KEPT_FOR)
    very_old = Q(state=Job.State.DEAD, finished_at__lt=now - DEAD_KEPT_FOR)
    found = [
        list(Job.objects.filter(q).values_list("pk", flat=True)[:PRUNED_AT_ONCE]) for q in (old, very_old)
    ]
    for ids in found:
        # The state once more: somebody may have brought a dead one back meanwhile.
        Job.objects.filter(pk__in=ids, state__in=(Job.State.DONE, Job.State.DEAD)).delete()
    return Again() if any(len(ids) == PRUNED_AT_ONCE for ids in found) else None
