"""Every address of the product."""

from typing import Any

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config.api import health, unknown_endpoint

api: list[Any] = [
    path("", include("billing.urls")),
    path("usage/", include("usage.urls")),
    path(
        "schema/", SpectacularAPIView.as_view(authentication_classes=[], permission_classes=[]), name="schema"
    ),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(
            url_name="schema", authentication_classes=[], permission_classes=[]
        ),
        name="api-docs",
    ),
    path("health/", health, name="health"),
    re_path(r"^(?P<path>.*)$", unknown_endpoint),
]

urlpatterns = [
    path("", RedirectView.as_view(url="/settings/usage/"), name="home"),
    path("api/v1/", include(api)),
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.urls")),
    path("", include("billing.page_urls")),
]
