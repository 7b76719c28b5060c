"""Every address of the product."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from config.documentation import documentation
from config.views import Docs, Health, Schema, unknown_endpoint

api: list[Any] = [
    path("usage/", include("usage.urls")),  # first: nothing is asked for as often as to record
    path("", include("billing.urls")),
    path("quotas/", include("usage.permission.urls")),
    path("schema/", Schema.as_view(), name="schema"),
    path("docs/", Docs.as_view(), name="api-docs"),
    path("health/", Health.as_view(), name="health"),
]

# Staff sign in where everybody does: with the second step, the limits and the trail.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.password_change = RedirectView.as_view(pattern_name="account_change_password")  # type: ignore[assignment, method-assign]

urlpatterns = [
    path("", RedirectView.as_view(url="/settings/usage/"), name="home"),
    path("api/v1/", include(api)),
    re_path(r"^api(/[\s\S]*)?$", unknown_endpoint),
    path("webhooks/", include("billing.stripe.urls")),
    path("admin/", include("billing.admin_urls")),
    path("admin/", admin.site.urls),
    path("docs/", documentation, name="docs"),
    path("docs/<slug:slug>/", documentation, name="docs_page"),
    path("accounts/", include("accounts.urls")),
    path("", include("billing.page_urls")),
    path("", include("usage.page_urls")),
]

handler400 = "config.views.bad_request"
handler500 = "config.views.server_error"
