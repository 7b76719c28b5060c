"""Pages under /settings/, in the order of the tabs (templates/settings/base.html), and the upgrade page."""

from django.urls import path

from accounts import activity_page, security_page
from accounts import views as accounts_views
from billing import statement_views, views

urlpatterns = [
    path("settings/usage/", views.usage, name="settings_usage"),
    path("settings/usage/months/", statement_views.month_list, name="settings_months"),
    path("settings/usage/months/<str:month>/", statement_views.statement, name="settings_statement"),
    path("settings/usage/live/", views.usage_live, name="settings_usage_live"),
    path("settings/usage/chart/", views.usage_chart, name="settings_usage_chart"),
    path("settings/profile/", accounts_views.profile, name="settings_profile"),
    path("settings/account/", views.account, name="settings_account"),
    path("settings/security/", security_page.security, name="settings_security"),
    path("settings/activity/", activity_page.activity, name="settings_activity"),
    path("upgrade/", views.upgrade, name="upgrade"),
]
