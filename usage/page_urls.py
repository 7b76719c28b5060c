"""Pages about usage under /settings/; those that show plan or charge are billing's."""

from django.urls import URLPattern, path

from usage.views import alerts, budgets, campaigns, history, keys

urlpatterns: list[URLPattern] = [
    path("settings/usage/history/", history.history, name="settings_history"),
    path("settings/usage/history/<str:record_id>/", history.record, name="settings_record"),
    path("settings/usage/campaigns/", campaigns.campaigns, name="settings_campaigns"),
    path("settings/usage/budgets/", budgets.budgets, name="settings_budgets"),
    path("settings/usage/budgets/new/", budgets.new, name="settings_new_budget"),
    path("settings/usage/budgets/<str:budget_id>/", budgets.budget, name="settings_budget"),
    path("settings/keys/", keys.keys, name="settings_keys"),
    path("settings/keys/new/", keys.new, name="settings_new_key"),
    path("settings/keys/<str:prefix>/", keys.key, name="settings_key"),
    path("settings/keys/<str:prefix>/rotate/", keys.rotate, name="settings_rotate_key"),
    path("settings/keys/<str:prefix>/revoke/", keys.revoke, name="settings_revoke_key"),
    path("settings/alerts/", alerts.alerts, name="settings_alerts"),
    path("settings/alerts/test/", alerts.test_webhook, name="settings_alerts_test"),
    path("settings/alerts/<str:delivery_id>/retry/", alerts.retry, name="settings_alerts_retry"),
]
