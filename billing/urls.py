"""Addresses under /api/v1/ that show plan and price beside usage."""

from django.urls import path

from billing import api, statement_api, stripe_api
from billing.net import api as net_api

urlpatterns = [
    path("usage/current/", api.Current.as_view(), name="current"),
    path("billing/plans/", api.Plans.as_view(), name="plans"),
    path("billing/prices/", api.Prices.as_view(), name="prices"),
    path("billing/subscription/", api.SubscriptionView.as_view(), name="subscription"),
    path("billing/estimate/", api.Estimate.as_view(), name="estimate"),
    path("billing/analytics/", api.Analytics.as_view(), name="analytics"),
    path("billing/checkout/", stripe_api.BeginCheckout.as_view(), name="begin-checkout"),
    path("billing/portal/", stripe_api.OpenPortal.as_view(), name="open-portal"),
    path("billing/net/", net_api.Net.as_view(), name="net"),
    path("billing/statements/", statement_api.Statements.as_view(), name="statements"),
    path("billing/statements/<str:month>/", statement_api.OneStatement.as_view(), name="statement"),
]
