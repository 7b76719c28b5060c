"""Acts on the members of an account: roles, removing, leaving, handing over."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts import membership
from accounts.pages import AccountRequest, account_act, to_account


@require_POST
@account_act
def change_role(request: AccountRequest, member_id: int) -> HttpResponse:
    """Give a member another role."""
    role = request.POST.get("role", "")
    member = membership.change_role(request.account, member_id, role, actor=request.user, request=request)
    messages.success(request, f"{member.user} is {member.get_role_display().lower()} now.")
    return to_account(request)


@require_POST
@account_act
def remove(request: AccountRequest, member_id: int) -> HttpResponse:
    """Take a member out of the account."""
    member = membership.remove(request.account, member_id, actor=request.user, request=request)
    messages.success(request, f"{member.user} is no member any more. What they recorded stays.")
    if member.user_id == request.user.pk:
        return redirect("settings_account")
    return to_account(request)


@require_POST
@account_act
def transfer(request: AccountRequest, member_id: int) -> HttpResponse:
    """Hand the account over to another member."""
    member = membership.transfer(request.account, member_id, actor=request.user, request=request)
    messages.success(request, f"{member.user} owns the account now; you are an admin of it.")
    return to_account(request)


@require_POST
@account_act
def leave(request: AccountRequest) -> HttpResponse:
    """Leave a business account."""
    membership.leave(request.account, user=request.user, request=request)
    messages.success(request, f"You have left {request.account.name}.")
    return redirect("settings_usage")
