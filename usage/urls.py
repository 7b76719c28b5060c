"""Addresses under /api/v1/usage/."""

from django.urls import path

from usage import api

urlpatterns = [
    path("", api.RecordUsage.as_view(), name="record-usage"),
    path("history/", api.History.as_view(), name="history"),
    path("trends/", api.Trends.as_view(), name="trends"),
    path("sessions/", api.Sessions.as_view(), name="sessions"),
    path("export/", api.Export.as_view(), name="export"),
    path("<str:record_id>/reverse/", api.ReverseUsage.as_view(), name="reverse-usage"),
]
