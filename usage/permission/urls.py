"""Addresses under /api/v1/quotas/."""

from django.urls import path

from usage.permission import api as quota_api

urlpatterns = [
    path("check/", quota_api.Check.as_view(), name="check-quota"),
    path("reservations/", quota_api.Reserve.as_view(), name="reserve-quota"),
    path("reservations/<str:reservation_id>/settle/", quota_api.Settle.as_view(), name="settle-reservation"),
    path(
        "reservations/<str:reservation_id>/release/", quota_api.Release.as_view(), name="release-reservation"
    ),
]
