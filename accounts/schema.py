"""What the OpenAPI schema says of the two ways to be known: an API key, or the browser's session."""

from typing import TYPE_CHECKING

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension

if TYPE_CHECKING:  # it imports DRF's views, which is too early when the apps are being loaded
    from drf_spectacular.openapi import AutoSchema


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.KeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "tg_live_…",
            "description": "An account key acts for its own account; a service key names the account.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.BrowserSession"
    name = "browserSession"

    def get_security_definition(self, auto_schema: "AutoSchema") -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The signed-in browser: what an account key may read. Writes send X-CSRFToken.",
        }
