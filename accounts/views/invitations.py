"""Inviting people to a business account, and the page that the link in their mail opens."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations
from accounts.authentication import CURRENT_ACCOUNT
from accounts.errors import DomainError
from accounts.forms import InvitationForm
from accounts.models import Account, Invitation, User
from accounts.pages import AccountRequest, account_act, account_page, raise_for_page, to_account

SIGN_UP = "/accounts/signup/"
SIGN_IN = "/accounts/login/"


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def invite(request: AccountRequest) -> HttpResponse:
    """Invite somebody to the account."""
    if not request.may_manage:
        raise PermissionDenied("Only an owner or an admin may invite people.")
    if request.account.kind != Account.Kind.BUSINESS:
        raise Http404("A personal account has no members besides its person.")
    form = InvitationForm(request.POST or None, own=request.membership.role)
    if request.method == "POST" and form.is_valid() and _invite(request, form):
        return to_account(request)
    return render(request, "settings/invite.html", {"form": form, "days": invitations.VALID_FOR.days})


def _invite(request: AccountRequest, form: InvitationForm) -> bool:
    """Invite whom a valid form names; False with the problem at its field."""
    wanted: dict[str, Any] = form.cleaned_data
    try:
        invitation, secret = invitations.invite(
            request.account, wanted["email"], wanted["role"], actor=request.user, request=request
        )
    except DomainError as error:
        raise_for_page(error)
        form.add_error(error.field if error.field in form.fields else None, error.message)
        return False
    _post(request, invitation, secret)
    return True


@require_POST
@account_act
def resend(request: AccountRequest, invitation_id: int) -> HttpResponse:
    """Send an invitation again, with a new link."""
    invitation, secret = invitations.renew(
        request.account, invitation_id, actor=request.user, request=request
    )
    _post(request, invitation, secret)
    return to_account(request)


def _post(request: AccountRequest, invitation: Invitation, secret: str) -> None:
    if invitations.post(invitation, secret, inviter=request.user):
        messages.success(request, f"An invitation is on its way to {invitation.email}.")
    else:
        problem = "is invited, but the mail could not be sent just now. Send it again from the list below."
        messages.warning(request, f"{invitation.email} {problem}")


@require_POST
@account_act
def withdraw(request: AccountRequest, invitation_id: int) -> HttpResponse:
    """Take an invitation back."""
    invitation = invitations.withdraw(request.account, invitation_id, actor=request.user, request=request)
    messages.success(request, f"The invitation of {invitation.email} is withdrawn.")
    return to_account(request)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Where the mail's link leads: who is signed in with the invited address may join.

    It says the same whether that address has a user here or not.
    """
    try:
        found = invitations.find(secret)
        if request.method == "POST" and isinstance(request.user, User):
            return _join(request, secret, request.user)
    except invitations.Gone:
        return render(request, "accounts/invitation_gone.html", status=404)
    except DomainError as error:
        raise_for_page(error)
        raise
    back = urlencode({"next": request.path})
    context = {
        "invitation": found,
        "is_theirs": getattr(request.user, "email", None) == found.email,
        "sign_in": f"{SIGN_IN}?{back}",
        "sign_up": f"{SIGN_UP}?{back}&{urlencode({'email': found.email})}",
    }
    return render(request, "accounts/invitation.html", context)


def _join(request: HttpRequest, secret: str, user: User) -> HttpResponse:
    account = invitations.accept(secret, user=user, request=request)
    request.session[CURRENT_ACCOUNT] = account.pk
    messages.success(request, f"Welcome to {account.name}.")
    return redirect("settings_usage")
