"""Pages about usage under /settings/; those that show plan or charge are billing's."""

from django.urls import URLPattern, path

from usage.views import history

urlpatterns: list[URLPattern] = [
    path("settings/usage/history/", history.history, name="settings_history"),
    path("settings/usage/history/<str:record_id>/", history.record, name="settings_record"),
]
