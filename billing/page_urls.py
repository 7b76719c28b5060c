"""Pages under /settings/, in the order of the tabs (templates/settings/base.html), and the upgrade page."""

from django.urls import include, path

from accounts import activity_page, security_page
from accounts import views as accounts_views
from accounts.views import invitations, members
from billing import account_views, statement_views, upgrade_views, views

account = [
    path("", account_views.account, name="settings_account"),
    path("new/", account_views.new_account, name="settings_new_account"),
    path("members/<int:member_id>/", account_views.member, name="settings_member"),
    path("members/<int:member_id>/role/", members.change_role, name="change_role"),
    path("members/<int:member_id>/remove/", members.remove, name="remove_member"),
    path("members/<int:member_id>/transfer/", members.transfer, name="transfer_account"),
    path("leave/", members.leave, name="leave_account"),
    path("invite/", invitations.invite, name="settings_invite"),
    path("invitations/<int:invitation_id>/resend/", invitations.resend, name="resend_invitation"),
    path("invitations/<int:invitation_id>/withdraw/", invitations.withdraw, name="withdraw_invitation"),
    path("download/", account_views.download, name="download_account"),
    path("delete/", account_views.delete, name="settings_delete_account"),
    path("keep/", account_views.keep, name="keep_account"),
]

urlpatterns = [
    path("settings/usage/", views.usage, name="settings_usage"),
    path("settings/usage/months/", statement_views.month_list, name="settings_months"),
    path("settings/usage/months/<str:month>/", statement_views.statement, name="settings_statement"),
    path("settings/usage/first-key/", views.first_key, name="settings_first_key"),
    path("settings/usage/live/", views.usage_live, name="settings_usage_live"),
    path("settings/usage/chart/", views.usage_chart, name="settings_usage_chart"),
    path("settings/profile/", accounts_views.profile, name="settings_profile"),
    path("settings/profile/download/", account_views.download_own, name="download_profile"),
    path("settings/account/", include(account)),
    path("settings/security/", security_page.security, name="settings_security"),
    path("settings/activity/", activity_page.activity, name="settings_activity"),
    path("upgrade/", upgrade_views.upgrade, name="upgrade"),
    path("upgrade/buy/", upgrade_views.buy, name="upgrade_buy"),
    path("upgrade/return/", upgrade_views.returned, name="upgrade_return"),
    path("upgrade/cancel/", upgrade_views.cancel, name="upgrade_cancel"),
    path("upgrade/undo/", upgrade_views.undo, name="upgrade_undo"),
    path("upgrade/manage/", upgrade_views.manage, name="upgrade_manage"),
    path("upgrade/to/<str:code>/", upgrade_views.change, name="upgrade_change"),
]
