"""What every admin class of Tollgate has in common."""

from typing import Any

from django.contrib.admin import ShowFacets
from django.contrib.admin.widgets import AutocompleteMixin
from django.db import models
from django.forms import BaseFormSet, Form, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin, TabularInline
from unfold.views import ChangeList

from accounts import audit
from accounts.admin.files import WithFiles
from accounts.admin.reasons import why_given
from accounts.models import Account


class TollgateList(ChangeList):
    """A list that is counted once, says so once (below), and is never read without a limit."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.result_list.query.is_sliced:  # it fits on one page, or did when it was counted
            self.result_list = self.result_list[: max(self.list_per_page, self.list_max_show_all)]
        self.full_result_count = self.result_count


class TollgateAdmin(WithFiles, ModelAdmin):
    """Writes only the fields that changed, and every addition, change and deletion into the audit trail.

    No bulk actions and no counts for filters: both read whole tables.
    """

    actions: Any = None
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    list_filter_submit = True
    empty_value_display = "–"
    list_per_page = 50
    compressed_fields = False
    empty_text = ""  # how rows come to be here, for a list without any

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TollgateList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        self.before_rows()
        files = {"files": self.files_of_list(request)}
        try:
            response = super().changelist_view(request, {**files, **(extra_context or {})})
            # The rows are read while the page is rendered.
            return response.render() if isinstance(response, TemplateResponse) else response
        except OverflowError:  # SQLite's driver, of an id in a filter that no row can have
            return HttpResponseRedirect(f"{request.path}?e=1")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return forgiving(super().formfield_for_foreignkey(db_field, request, **kwargs))

    def account_of(self, obj: Any) -> Account | None:
        """The account that an audit entry about `obj` names; None for what belongs to no account."""
        return getattr(obj, "account", None)

    def save_model(self, request: HttpRequest, obj: Any, form: Form, change: Any) -> None:
        if not change:
            super().save_model(request, obj, form, change)
            return
        # A whole-row save would take back what somebody else changed meanwhile.
        columns = {field.name for field in obj._meta.concrete_fields}
        obj.save(update_fields=[name for name in form.changed_data if name in columns])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        self.write_saved(request, form, formsets, change)

    def write_saved(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Write what was just saved into the audit trail; nothing when nothing changed."""
        before, after = changes(form, formsets)
        if change and not after:
            return
        audit.write(
            f"{action_noun(self.model)}.{'changed' if change else 'added'}",
            actor=request.user,  # type: ignore[arg-type]
            account=self.account_of(form.instance),
            subject=str(form.instance),
            before=before if change else None,
            after=after,
            reason=why_given(request),
            request=request,
        )

    def uses(self, obj: Any) -> list[str]:
        """Why `obj` may not be deleted, beyond what the database protects; nothing here."""
        return []

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        refused = [*(use for obj in objs for use in self.uses(obj)), *protected]
        # Refused for its use, nobody lacks a right: the page would speak of that instead.
        return deleted, counts, set() if refused else lacking, refused

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        audit.write(
            f"{action_noun(self.model)}.deleted",
            actor=request.user,  # type: ignore[arg-type]
            account=self.account_of(obj),
            subject=str(obj),
            before=stored(obj),
            reason=why_given(request),
            request=request,
        )
        super().delete_model(request, obj)


class Rows(TabularInline):
    """Rows of a form: the column's head names each field for the eye, and a label for a screen reader."""

    extra = 0
    hide_title = True

    def formfield_for_dbfield(self, db_field: models.Field, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            widget = getattr(field.widget, "widget", field.widget)
            widget.attrs["aria-label"] = str(field.label)
        return field

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return forgiving(super().formfield_for_foreignkey(db_field, request, **kwargs))


class OnlyIds:
    """An autocomplete shows the chosen rows again by their ids; what is no id chooses none."""

    def optgroups(self, name: str, value: list[str], attr: Any = None) -> Any:
        ids = [chosen for chosen in value if str(chosen).isdigit() and len(str(chosen)) <= 18]
        return super().optgroups(name, ids, attr)  # type: ignore[misc]


def forgiving(field: Any) -> Any:
    """The field, with an autocomplete that does not fail on a choice that is no id."""
    widget = getattr(field.widget, "widget", field.widget) if field is not None else None
    if isinstance(widget, AutocompleteMixin) and not isinstance(widget, OnlyIds):
        widget.__class__ = type(widget.__class__.__name__, (OnlyIds, widget.__class__), {})
    return field


class AddOnly:
    """Rows that are only ever added: the database itself refuses to change or delete them."""

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["show_save_and_continue"] = False  # there is nothing to go on editing
        return super().render_change_form(request, context, *args, **kwargs)  # type: ignore[misc]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ViewOnly(AddOnly):
    """Rows that staff look at and nobody writes here."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def action_noun(model: type[models.Model]) -> str:
    """How the audit trail names a model: `price`, `exchange_rate`."""
    return str(model._meta.verbose_name).lower().replace(" ", "_")


def changes(form: ModelForm, formsets: list[BaseFormSet]) -> tuple[dict, dict]:
    """What a saved form and its inlines changed, as JSON-ready values by field: before, after."""
    names = {field.name for field in form._meta.model._meta.get_fields()} - {"password"}
    changed = [name for name in form.changed_data if name in names]
    before = {name: _plain(form.initial.get(name)) for name in changed}
    after = {name: _plain(form.cleaned_data.get(name)) for name in changed}
    for formset in formsets:
        for label, rows in (
            ("added", getattr(formset, "new_objects", [])),
            ("changed", [row for row, _ in getattr(formset, "changed_objects", [])]),
            ("deleted", getattr(formset, "deleted_objects", [])),
        ):
            if rows:
                after[f"{formset.prefix} {label}"] = [str(row) for row in rows]
    return before, after


SECRET = frozenset({"password", "secret_hash", "session_key", "data"})


def stored(obj: models.Model) -> dict[str, Any]:
    """What a row said before it went, JSON-ready and without its secrets."""
    fields = (field for field in obj._meta.concrete_fields if field.name not in SECRET)
    return {field.name: _plain(field.value_from_object(obj)) for field in fields}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple | set | models.QuerySet):
        return [_plain(item) for item in value]
    return str(value)
