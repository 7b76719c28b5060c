"""Catalogue tables out to a file and in again, with what would change shown before it is changed."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from import_export.admin import ImportExportMixin
from import_export.forms import ConfirmImportForm
from unfold.contrib.import_export.forms import ExportForm, ImportForm

from accounts.admin.base import AddOnly
from accounts.admin.fields import ReasonForm
from usage.admin.file_formats import FILE_BYTES_AT_MOST, FORMATS, Unreadable

SALT = "tollgate.catalogue_file"
KEPT_FOR_S = 3_600


class FileForm(ImportForm):
    """Which file; what is in it is shown before anything is changed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[
            "import_file"
        ].help_text = "CSV or XLSX, at most 2 MiB and 10,000 rows. Columns as an export has them."

    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > FILE_BYTES_AT_MOST:
            raise forms.ValidationError("A file has at most 2 MiB; split this one.")
        return file


class ConfirmForm(ReasonForm, ConfirmImportForm):
    """Why; and which of the files that were sent, by a name that only we can have given."""

    field_order = ("reason",)

    def clean_import_file_name(self) -> str:
        try:
            name = signing.loads(self.cleaned_data["import_file_name"], salt=SALT, max_age=KEPT_FOR_S)
        except signing.BadSignature as error:
            raise forms.ValidationError("Send the file again.") from error
        return str(name)


class CatalogueFiles(ImportExportMixin):
    """Export for whoever may look at a table; import for whoever may add to it and change it."""

    formats = FORMATS
    from_encoding = "utf-8-sig"  # spreadsheets begin a CSV file with a mark
    import_form_class = FileForm
    confirm_form_class = ConfirmForm
    export_form_class = ExportForm
    skip_admin_log = True  # the audit trail has it
    also_added: tuple[str, ...] = ()  # permissions for what rows of the file add besides

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_view_permission(request))

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Rows that are only ever added need no right to change them."""
        opts = self.opts
        acts = ("add",) if isinstance(self, AddOnly) else ("add", "change")
        wanted = [f"{opts.app_label}.{act}_{opts.model_name}" for act in acts]
        return bool(request.user.has_perms([*wanted, *self.also_added]))

    def get_confirm_form_initial(self, request: HttpRequest, import_form: Any) -> dict[str, Any]:
        initial = super().get_confirm_form_initial(request, import_form)
        if initial:
            initial["import_file_name"] = signing.dumps(initial["import_file_name"], salt=SALT)
        return initial

    def get_import_data_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        form = kwargs.get("form")
        said = form.cleaned_data.get("reason", "") if form is not None else ""
        return {
            **super().get_import_data_kwargs(**kwargs),
            "reason": said,
            "rollback_on_validation_errors": True,
        }

    def add_data_read_fail_error_to_form(self, form: Any, e: Exception) -> None:
        said = str(e) if isinstance(e, Unreadable) else "This is no file of the chosen format."
        form.add_error("import_file", said)

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            return super().process_import(request, **kwargs)
        except FileNotFoundError:
            messages.error(request, "The file is not there any more. Send it again.")
            return HttpResponseRedirect(self._page("import"))

    def process_result(self, result: Any, request: HttpRequest) -> HttpResponse:
        """Nothing was imported where something was refused that the preview had not known yet."""
        if not result.has_errors() and not result.has_validation_errors():
            return super().process_result(result, request)
        context = {
            **self.admin_site.each_context(request),
            "title": "Nothing was imported",
            "opts": self.opts,
            "result": result,
            "form": self.create_import_form_again(request),
            "import_error_display": self.import_error_display,
        }
        return TemplateResponse(request, [self.import_template_name], context)

    def create_import_form_again(self, request: HttpRequest) -> forms.Form:
        form_class = self.get_import_form_class(request)
        return form_class(self.get_import_formats(), self.get_import_resource_classes(request))

    def _page(self, name: str) -> str:
        opts = self.opts
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}")
