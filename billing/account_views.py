"""The account's own pages: its settings, its members with what they used, its data, and its end."""

import copy
from collections.abc import Iterable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import audit, deletion, downloads, membership, references
from accounts.authentication import CURRENT_ACCOUNT
from accounts.errors import DomainError
from accounts.forms import AccountForm, DeletionForm, NewAccountForm, RoleForm
from accounts.models import Account, Member
from accounts.pages import (
    AccountRequest,
    account_act,
    account_page,
    managers_change,
    raise_for_page,
    to_account,
)
from billing import account_page as loaded
from billing import jobs
from usage import formatting, price_book
from usage.price_book import PriceBook
from usage.queue import enqueue


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
@managers_change
def account(request: AccountRequest) -> HttpResponse:
    """The account: its name, time zone and currency, and who is in it."""
    book = price_book.current()
    edited = copy.copy(request.account)
    form = AccountForm(request.POST or None, instance=edited, currencies=currencies(book))
    if request.method == "POST" and form.is_valid():
        if form.save_changes("account.changed", request, request.user, request.account):
            references.forget_all()
            messages.success(request, "The account is saved.")
        return redirect(request.get_full_path())
    after = request.GET.get("after", "")
    is_business = request.account.kind == Account.Kind.BUSINESS
    context = {
        "form": form,
        "page": loaded.load_members(request.account, book, int(after) if is_id(after) else 0),
        "is_business": is_business,
        "may_invite": is_business and request.may_manage,
        "is_owner": request.membership.role == Member.Role.OWNER,
        "invitations": loaded.open_invitations(request.account) if is_business and request.may_manage else [],
        "reach": membership.ROLES_GIVEN_BY[request.membership.role],
    }
    return render(request, "settings/account.html", context)


def is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def currencies(book: PriceBook) -> list[tuple[str, str]]:
    """The currencies that amounts can be shown in: USD, and what has an exchange rate."""
    codes = ["USD", *sorted(book.exchange)]
    return [(code, f"{code} – {formatting.currency_name(code)}") for code in codes]


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def new_account(request: AccountRequest) -> HttpResponse:
    """Open a business account; whoever does owns it, and works in it from now on."""
    offered = currencies(price_book.current())
    form = NewAccountForm(request.POST or None, currencies=offered, alike=request.account)
    if request.method == "POST" and form.is_valid():
        try:
            opened = membership.open_business(user=request.user, request=request, **form.cleaned_data)
        except DomainError as error:
            form.add_error(None, error.message)
        else:
            request.session[CURRENT_ACCOUNT] = opened.pk
            messages.success(request, f"{opened.name} is open. Invite the people who work with you.")
            return redirect("settings_account")
    return render(request, "settings/new_account.html", {"form": form})


@require_GET
@account_page
def member(request: AccountRequest, member_id: int) -> HttpResponse:
    """One member: usage, budgets, and what the reader's role may do about them."""
    found = loaded.members_of(request.account).filter(pk=member_id).first()
    if found is None:
        raise Http404("This account has no such member.")
    own = request.membership.role
    is_self, is_owner = found.user_id == request.user.pk, own == Member.Role.OWNER
    is_business = request.account.kind == Account.Kind.BUSINESS
    reaches = is_business and found.role in membership.ROLES_GIVEN_BY[own]
    context = {
        "row": loaded.load_member(request.account, found),
        "month": formatting.month(loaded.this_month(request.account)[0]),
        "form": RoleForm(initial={"role": found.role}, own=own) if reaches else None,
        "may_remove": reaches and not is_self,
        "may_transfer": is_business and is_owner and not is_self,
    }
    return render(request, "settings/member.html", context)


@require_GET
@account_page
def download(request: AccountRequest) -> StreamingHttpResponse:
    """Everything that is held of the account, as one archive; for its owners."""
    _owners_only(request)
    subject, parts = request.account, downloads.parts_of_an_account
    audit.write(
        "account.downloaded", actor=request.user, account=subject, subject=subject.name, request=request
    )
    content = downloads.archive(parts, subject, f"What Tollgate holds of {subject.name}")
    return as_attachment(content, f"tollgate-{subject.public_id}.zip")


@require_GET
@account_page
def download_own(request: AccountRequest) -> StreamingHttpResponse:
    """Everything that is held of the reader as a user."""
    audit.write("profile.downloaded", actor=request.user, subject=request.user.email, request=request)
    title = f"What Tollgate holds of {request.user.email}"
    return as_attachment(
        downloads.archive(downloads.parts_of_a_user, request.user, title), "tollgate-profile.zip"
    )


def as_attachment(content: Iterable[bytes], name: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(content, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _owners_only(request: AccountRequest) -> None:
    if request.membership.role != Member.Role.OWNER:
        raise PermissionDenied("Only an owner of the account may do this.")


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def delete(request: AccountRequest) -> HttpResponse:
    """Ask for the account's deletion: its name is typed, and a week is left to think again."""
    _owners_only(request)
    form = DeletionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return _delete(request, form.cleaned_data["name"])
        except DomainError as error:
            raise_for_page(error)
            form.add_error(error.field if error.field in form.fields else None, error.message)
    person = request.account.person if request.account.person_id else None
    context = {
        "form": form,
        "held": loaded.held_by(request.account),
        "hindrances": deletion.hindrances(request.account),
        "days": deletion.GRACE.days,
        "stays_in": [m.account.name for m in request.memberships if m.account_id != request.account.pk]
        if person is not None
        else [],
    }
    return render(request, "settings/delete_account.html", context)


@transaction.atomic
def _delete(request: AccountRequest, typed: str) -> HttpResponse:
    asked = deletion.ask(request.account, typed, actor=request.user, request=request)
    enqueue(
        jobs.mail_deletion_asked,
        key=f"billing.mail_deletion_asked:{asked.account_id}",
        account_id=asked.account_id,
    )
    return to_account(request)


@require_POST
@account_act
def keep(request: AccountRequest) -> HttpResponse:
    """Undo the wish to delete the account."""
    if deletion.keep(request.account, actor=request.user, request=request):
        messages.success(request, f"{request.account.name} stays.")
    return to_account(request)
