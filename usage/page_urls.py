"""Pages about usage under /settings/; those that show plan or charge are billing's."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
