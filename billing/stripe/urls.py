"""Where Stripe sends its events."""

from django.urls import path

from billing.stripe import inbox

urlpatterns = [path("stripe/", inbox.webhook, name="stripe_webhook")]
