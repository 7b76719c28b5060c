"""Pages under /accounts/."""

from django.urls import path

from accounts import views
from accounts.views import invitations

urlpatterns = [
    path("login/", views.login, name="login"),
    path("logout/", views.logout, name="logout"),
    path("switch/", views.switch, name="switch_account"),
    path("theme/", views.theme, name="theme"),
    path("invitations/<str:secret>/", invitations.invitation, name="invitation"),
]
