"""Pages of the admin that belong to no table."""

from django.contrib import admin
from django.urls import path

from billing.net import views

urlpatterns = [
    path("billing/net/", admin.site.admin_view(views.net), name="net_billing"),
    path(
        "billing/net/sessions/",
        admin.site.admin_view(views.most_active_sessions),
        name="net_billing_sessions",
    ),
]
