"""The one place where requests are counted for rate limits: REST_FRAMEWORK's throttle (config.settings)."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.keys import Caller
from usage.rates import limits as rate_limits

if TYPE_CHECKING:  # DRF's views load this module while they are being loaded
    from rest_framework.views import APIView


class PerMinute(BaseThrottle):
    """Counts every API request that comes with a key, once it is known whose it is and that it may."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Always true, with RateLimit headers for the answer where there is a limit.

        Raises:
            DomainError: 429 `rate_limited`.
        """
        if isinstance(request.auth, Caller):
            rate_limits.add_headers(view.headers, rate_limits.take_request(request.auth))
        return True
