"""Addresses under /api/v1/usage/."""

from django.urls import path

from usage import api, campaign_api
from usage.alerts import api as alerts_api

urlpatterns = [
    path("", api.RecordUsage.as_view(), name="record-usage"),
    path("history/", api.History.as_view(), name="history"),
    path("trends/", api.Trends.as_view(), name="trends"),
    path("sessions/", api.Sessions.as_view(), name="sessions"),
    path("export/", api.Export.as_view(), name="export"),
    path("alerts/", alerts_api.Alerts.as_view(), name="alerts"),
    path("campaigns/", campaign_api.Campaigns.as_view(), name="campaigns"),
    path(
        "campaigns/<str:campaign_id>/archive/",
        campaign_api.ArchiveCampaign.as_view(),
        name="archive-campaign",
    ),
    path(
        "campaigns/<str:campaign_id>/restore/",
        campaign_api.RestoreCampaign.as_view(),
        name="restore-campaign",
    ),
    path("<str:record_id>/reverse/", api.ReverseUsage.as_view(), name="reverse-usage"),
]
