"""Users, known by e-mail, and groups."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import ManyToManyField, Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from accounts import audit
from accounts.admin.base import TollgateAdmin
from accounts.admin.display import badge, linked, moment_column
from accounts.models import User

FOR_SUPERUSERS = ("is_staff", "is_superuser", "groups", "user_permissions")


class NewUserForm(UserCreationForm):
    """E-mail, name and a password typed twice."""

    usable_password = None  # everybody here signs in with a password

    class Meta:
        model = User
        fields = ("email", "name")


class ChosenFromMany:
    """Groups and rights are chosen in a field that searches them."""

    def formfield_for_manytomany(
        self, db_field: ManyToManyField, request: HttpRequest, **kwargs: Any
    ) -> forms.ModelMultipleChoiceField:
        widget = UnfoldAdminSelect2MultipleWidget()
        if db_field.related_model is Permission:
            kwargs["queryset"] = Permission.objects.select_related("content_type")
        searched = widget.attrs["class"]
        field = super().formfield_for_manytomany(db_field, request, **{**kwargs, "widget": widget})  # type: ignore[misc]
        field.widget.attrs["class"] = searched  # Unfold makes it a plain list again
        field.help_text = ""  # Django's speaks of holding Ctrl
        return field


# What is a user's alone, such as what they sign in with; apps above add theirs.
goes_with_a_user: list[type[Model]] = [EmailAddress, Authenticator, UserSession]


@admin.register(User)
class UserAdmin(ChosenFromMany, TollgateAdmin, DjangoUserAdmin):
    """Saving a new user opens the personal account (`User.save`); one with accounts is not deleted."""

    form = forms.ModelForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "state", "is_staff", "last_seen", "joined")
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    search_fields = ("email", "name")
    search_help_text = "E-mail or name"
    ordering = ("email",)
    filter_horizontal = ()
    readonly_fields = ("last_seen", "joined", "accounts_held", "password_page")
    fieldsets = (
        (None, {"fields": (("email", "name"), "accounts_held", "password_page")}),
        ("Rights", {"fields": (("is_active", "is_staff", "is_superuser"), "groups", "user_permissions")}),
        ("When", {"fields": (("last_seen", "joined"),)}),
    )
    add_fieldsets = (
        (
            None,
            {
                "fields": ("email", "name", "password1", "password2"),
                "description": "The user's personal account is opened with the user, on the default plan.",
            },
        ),
    )

    last_seen = moment_column("last_login", "last sign-in")
    joined = moment_column("date_joined", "joined")

    @display(description="state", ordering="is_active")
    def state(self, user: User) -> str:
        return badge("active", "good") if user.is_active else badge("blocked", "bad")

    @display(description="password")
    def password_page(self, user: User) -> str:
        link = reverse("admin:auth_user_password_change", args=[user.pk])
        set_or_not = "set" if user.has_usable_password() else "none"
        return format_html('{}: <a class="text-link" href="{}">change it</a>', set_or_not, link)

    @display(description="accounts")
    def accounts_held(self, user: User) -> str:
        members = user.memberships.select_related("account")
        return format_html_join("; ", "{} ({})", ((linked(m.account), m.role) for m in members))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only a superuser hands out rights; or anybody who edits users could take them."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *FOR_SUPERUSERS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_touch(request, obj) and super().has_delete_permission(request, obj)

    @staticmethod
    def _may_touch(request: HttpRequest, obj: Any) -> bool:
        above = isinstance(obj, User) and (obj.is_superuser or obj.is_staff) and obj.pk != request.user.pk
        return bool(getattr(request.user, "is_superuser", False)) or not above

    def uses(self, obj: User) -> list[str]:
        """A user who still has accounts is refused: those are deleted on their own page, with a reason."""
        memberships = obj.memberships.exclude(account__person=obj).select_related("account")
        return [format_html("Member of {}", linked(member.account)) for member in memberships]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """What is a user's alone goes with them; nobody needs a right of its own for it."""
        deleted, counts, lacking, refused = super().get_deleted_objects(objs, request)
        own = {str(model._meta.verbose_name) for model in goes_with_a_user}
        return deleted, counts, {name for name in lacking if str(name) not in own}, refused

    @transaction.atomic
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:
            audit.write(
                "user.password_changed",
                actor=request.user,  # type: ignore[arg-type]
                subject=str(User.objects.filter(pk=id).first()),
                request=request,
            )
        return response


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(ChosenFromMany, TollgateAdmin, DjangoGroupAdmin):  # type: ignore[misc]
    """Rights that several of the staff have together."""

    filter_horizontal = ()
    search_fields = ("name",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)
