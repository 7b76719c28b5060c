"""Pages about usage under /settings/; those that show plan or charge are billing's."""

from django.urls import URLPattern, path

from usage.views import alerts

urlpatterns: list[URLPattern] = [
    path("settings/alerts/", alerts.alerts, name="settings_alerts"),
    path("settings/alerts/test/", alerts.test_webhook, name="settings_alerts_test"),
    path("settings/alerts/<str:delivery_id>/retry/", alerts.retry, name="settings_alerts_retry"),
]
