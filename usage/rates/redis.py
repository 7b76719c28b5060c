"""Sliding minutes in Redis: `usage.rates.window` once more, as one script over all buckets of a take.

Redis runs a script alone, so it is atomic among all processes. The time is Redis' own:
clocks of other machines do not matter. Its numbers are doubles, exact up to 2^53: instants in
microseconds and amounts under 10^15 are below that. Needs Redis 5 or later, or Valkey.
"""

from collections.abc import Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from usage.rates.stores import Bucket, Held, Taken
from usage.rates.window import GROUP_NS, MINUTE_NS

PREFIX = "tollgate:rate:"
ANSWERS_WITHIN_S = 0.25
NS_IN_US = 1_000

# Of each bucket: `at`, when the last of each group was admitted; `of`, how much; `opened`, when the first
# of the newest group was. Whatever lies ahead of Redis' clock was admitted before that was set back, and
# counts as admitted now: nobody waits longer than a minute, and nothing is forgiven.
SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local minute, span, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local function read(key)
  local bucket = {used = 0, opened = 0, at = {}, of = {}}
  local packed = redis.call('GET', key)
  if not packed then return bucket end
  local kept = cmsgpack.unpack(packed)
  bucket.opened = math.min(kept.opened, now)
  local ats, ofs, used, n = bucket.at, bucket.of, 0, 0
  for i, at in ipairs(kept.at) do
    if at > now then at = now end
    if at + minute > now then
      n = n + 1
      ats[n], ofs[n] = at, kept.of[i]
      used = used + ofs[n]
    end
  end
  bucket.used = used
  return bucket
end

local function wait(bucket, limit)
  local missing = bucket.used + cost - limit
  for i = 1, #bucket.at do
    if missing <= 0 then return 0 end
    missing = missing - bucket.of[i]
    if missing <= 0 then return bucket.at[i] + minute - now end
  end
  return 0
end

local function add(bucket)
  local newest = #bucket.at
  if newest > 0 and now - bucket.opened < span then
    bucket.at[newest] = now
    bucket.of[newest] = bucket.of[newest] + cost
  else
    bucket.opened = now
    table.insert(bucket.at, now)
    table.insert(bucket.of, cost)
  end
  bucket.used = bucket.used + cost
end

local buckets, waits, admitted = {}, {}, 1
for i, key in ipairs(KEYS) do
  buckets[i] = read(key)
  waits[i] = wait(buckets[i], tonumber(ARGV[3 + i]))
  if waits[i] > 0 then admitted = 0 end
end
local answer = {admitted}
for i, key in ipairs(KEYS) do
  local bucket = buckets[i]
  if admitted == 1 and cost > 0 then add(bucket) end
  if #bucket.at > 0 then
    redis.call('SET', key, cmsgpack.pack({opened = bucket.opened, at = bucket.at, of = bucket.of}),
               'PX', minute / 1000 + 1000)
  end
  local eases = bucket.at[1] and bucket.at[1] + minute - now or 0
  table.insert(answer, bucket.used)
  table.insert(answer, waits[i] > 0 and waits[i] or eases)
end
return answer
"""


class InRedis:
    """Minutes in Redis, for all processes that share it.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
    """

    AWAY: tuple[type[Exception], ...] = (redis.RedisError, OSError)

    def __init__(self, url: str) -> None:
        # No retries: one that timed out may have been counted, and would be counted twice.
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=ANSWERS_WITHIN_S,
            socket_connect_timeout=ANSWERS_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._client.register_script(SCRIPT)

    def take(self, buckets: Sequence[Bucket], cost: int) -> Taken:
        """As every store does.

        Raises:
            redis.RedisError, OSError: one of AWAY, when Redis does not answer in time.
        """
        keys = [PREFIX + bucket.name for bucket in buckets]
        numbers = [MINUTE_NS // NS_IN_US, GROUP_NS // NS_IN_US, cost, *(bucket.limit for bucket in buckets)]
        admitted, *answers = self._script(keys=keys, args=numbers)
        held = zip(answers[::2], answers[1::2], strict=True)
        return Taken(admitted == 1, tuple(Held(used, until * NS_IN_US) for used, until in held))
