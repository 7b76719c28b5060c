"""Guards, and records that ask for permission, run against the same without and against what is common."""

from typing import ClassVar

from tests.benchmarks.contestants import BareView, LostOrDoubledError, Singles
from tests.benchmarks.engines import query
from tests.benchmarks.stage import Player

NO_LIMIT_IN_REACH = 10**9


class LookedView(BareView):
    name = "Tollgate's guard on the bare view"
    path = "/api/bench/looked/"


class MeteredView(Singles):
    name = "Tollgate, guard + record on it"
    path = "/api/bench/metered/"
    table = "usage_record"


class TrackedView(Singles):
    name = "drf-api-tracking on the bare view"
    path = "/api/bench/tracked/"
    table = "rest_framework_tracking_apirequestlog"


class OfLarge(Singles):
    """Calls of the account that has been given its records beforehand."""

    operation = "api_call"

    @property
    def player(self) -> Player:
        return self.stage.large

    def token(self, number: int) -> str:
        return self.player.token

    def stored(self) -> int:
        sql = f"SELECT COUNT(*) FROM {self.table} WHERE account_id = {self.player.account_id}"
        return int(query(self.connection, sql)[0][0])


class GuardedRecord(OfLarge):
    """Its balance has to say what its ledger says, before and after."""

    name = "Tollgate, guarded record"
    path = "/api/v1/usage/"
    table = "usage_record"

    def check_answers(self) -> None:
        super().check_answers()
        sql = f"SELECT used FROM usage_balance WHERE account_id = {self.player.account_id}"
        sql += " AND meter_id = (SELECT id FROM usage_meter WHERE slug = 'api_calls')"
        ((used,),) = query(self.connection, sql)
        if used != self.stored() * 10_000:
            raise LostOrDoubledError(f"{self.name}: {used} used of {self.stored()} records")


class NaiveSum(OfLarge):
    name = "naive: SUM, compare, INSERT"
    path = f"/api/bench/naive/{NO_LIMIT_IN_REACH}/"
    table = "benchmarks_call"


class AmongFew(GuardedRecord):
    name = "Tollgate, guarded record among few"
    stage_name: ClassVar[str] = "few"


class AmongMany(GuardedRecord):
    name = "Tollgate, guarded record among many"
    stage_name: ClassVar[str] = "many"
