"""Pages under /accounts/: signing up and in, one's safety, and choices of this browser.

Of allauth's own list only these, so that no page of it is reached that is not ours;
the names are its own, since it asks for them.
"""

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from django.urls import path, re_path
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from accounts import doors, views
from accounts.views import invitations

# A link from a mail: the user's number, and a token (or `set-password` once that is in the session).
RESET_LINK = r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]{1,13})-(?P<key>[^/]{1,128})/$"

urlpatterns = [
    path("login/", account.login, name="account_login"),
    path("login/", account.login, name="login"),
    path("logout/", doors.logout, name="account_logout"),
    path("logout/", doors.logout, name="logout"),
    path("signup/", account.signup, name="account_signup"),
    path(
        "confirm-email/", never_cache(account.email_verification_sent), name="account_email_verification_sent"
    ),
    path("email/", RedirectView.as_view(pattern_name="settings_profile"), name="account_email"),
    path("password/reset/", never_cache(account.password_reset), name="account_reset_password"),
    path(
        "password/reset/done/", never_cache(account.password_reset_done), name="account_reset_password_done"
    ),
    path(
        "password/reset/key/done/",
        RedirectView.as_view(pattern_name="account_login"),
        name="account_reset_password_from_key_done",
    ),
    re_path(RESET_LINK, never_cache(account.password_reset_from_key), name="account_reset_password_from_key"),
    path("password/change/", never_cache(account.password_change), name="account_change_password"),
    path("password/set/", never_cache(account.password_set), name="account_set_password"),
    path("reauthenticate/", never_cache(account.reauthenticate), name="account_reauthenticate"),
    path("2fa/", RedirectView.as_view(pattern_name="settings_security"), name="mfa_index"),
    path("2fa/authenticate/", doors.second_step, name="mfa_authenticate"),
    path("2fa/reauthenticate/", never_cache(mfa.reauthenticate), name="mfa_reauthenticate"),
    path("2fa/totp/activate/", never_cache(totp.activate_totp), name="mfa_activate_totp"),
    path("2fa/totp/deactivate/", never_cache(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path(
        "2fa/recovery-codes/", never_cache(recovery_codes.view_recovery_codes), name="mfa_view_recovery_codes"
    ),
    path(
        "2fa/recovery-codes/generate/",
        never_cache(recovery_codes.generate_recovery_codes),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "2fa/recovery-codes/download/",
        recovery_codes.download_recovery_codes,
        name="mfa_download_recovery_codes",
    ),
    path("switch/", views.switch, name="switch_account"),
    path("seen-as-user/leave/", views.leave_seen, name="leave_seen_account"),
    path("theme/", views.theme, name="theme"),
    path("invitations/<str:secret>/", invitations.invitation, name="invitation"),
]
