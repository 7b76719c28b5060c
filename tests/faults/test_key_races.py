"""Many who make keys and set budgets of one account at once: each form makes one key, and bounds hold."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape

import requests

from tests.faults.installation import Installation

CLIENTS = 8
KEYS_AT_MOST = 100
TOKEN = re.compile(r"tg_live_[\w-]{40,}")


class Browser:
    """Somebody who is signed in, and works in the account of their own."""

    def __init__(self, tollgate: Installation, email: str) -> None:
        self.root = f"http://127.0.0.1:{tollgate.port}"
        tollgate.manage("createaccount", "--email", email)
        tollgate.begin(
            "from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY\n"
            "from django.contrib.sessions.backends.cached_db import SessionStore\n"
            "from accounts.models import User\n"
            f"user = User.objects.get(email={email!r})\n"
            "session = SessionStore()\n"
            "session[SESSION_KEY] = str(user.pk)\n"
            "session[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'\n"
            "session[HASH_SESSION_KEY] = user.get_session_auth_hash()\n"
            "session.save()\n"
            "print(session.session_key)"
        )
        status, printed = tollgate.finish()
        assert status == 0, printed
        self.cookies = {"sessionid": printed.strip()}

    def form(self, path: str) -> dict[str, str]:
        """The hidden fields of a page's form."""
        answer = requests.get(f"{self.root}{path}", cookies=self.cookies, timeout=30)
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', answer.text)
        return {**{name: unescape(value) for name, value in found}, "cookie": answer.cookies["csrftoken"]}

    def send(self, path: str, body: dict) -> requests.Response:
        form = dict(body)
        cookies = {**self.cookies, "csrftoken": form.pop("cookie")}
        return requests.post(
            f"{self.root}{path}", data=form, cookies=cookies, timeout=30, allow_redirects=False
        )


def at_once(n: int, act: Callable[[int], requests.Response]) -> list[requests.Response]:
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(act, range(n)))


def live_keys(tollgate: Installation, email: str) -> int:
    sql = (
        "SELECT COUNT(*) FROM accounts_key k JOIN accounts_account a ON a.id = k.account_id"
        f" JOIN accounts_user u ON u.id = a.person_id WHERE u.email = '{email}' AND k.revoked_at IS NULL"
    )
    return tollgate.query(sql)[0][0]


def test_a_form_that_is_sent_many_times_at_once_makes_one_key(tollgate: Installation, name: str) -> None:
    email = f"{name}@example.com"
    ann = Browser(tollgate, email)
    form = {**ann.form("/settings/keys/new/"), "name": "app", "scopes": ["usage:write"]}

    answers = at_once(16, lambda _: ann.send("/settings/keys/new/", form))

    assert sorted(answer.status_code for answer in answers) == [200, *[302] * 15]
    (token,) = {found for answer in answers for found in TOKEN.findall(answer.text)}
    assert live_keys(tollgate, email) == 1
    headers = {"Authorization": f"Bearer {token}"}
    call = {"operation": "api_call"}
    assert (
        requests.post(f"{ann.root}/api/v1/usage/", json=call, headers=headers, timeout=30).status_code == 201
    )


def test_the_number_of_keys_that_work_is_bounded_whoever_makes_them(
    tollgate: Installation, name: str
) -> None:
    email = f"{name}@example.com"
    ann = Browser(tollgate, email)
    tollgate.begin(
        "from accounts import keys\nfrom accounts.references import find_account\n"
        f"account = find_account({email!r})\n"
        f"for _ in range({KEYS_AT_MOST - 3}): keys.make_key(account)"
    )
    assert tollgate.finish()[0] == 0
    forms = [{**ann.form("/settings/keys/new/"), "name": "app", "scopes": ["usage:write"]} for _ in range(8)]

    answers = at_once(8, lambda n: ann.send("/settings/keys/new/", forms[n]))

    assert {answer.status_code for answer in answers} == {200}
    assert sum(bool(TOKEN.search(answer.text)) for answer in answers) == 3
    assert sum("revoke one first" in answer.text for answer in answers) == 5
    assert live_keys(tollgate, email) == KEYS_AT_MOST


def test_of_many_budgets_set_at_once_one_holds_and_each_step_is_written_down(
    tollgate: Installation, name: str
) -> None:
    email = f"{name}@example.com"
    ann = Browser(tollgate, email)
    path = "/settings/usage/budgets/new/"
    form = {
        **ann.form(path), "scope": "account", "meter": "api_calls",
        "window": "calendar_month", "enforcement": "hard",
    }  # fmt: skip

    def set_or_record(n: int) -> requests.Response:
        if n % 2:
            return ann.send(path, {**form, "limit": str(100 + n)})
        call = {"account": email, "operation": "api_call", "quantities": {"requests": 1}}
        headers = {"Authorization": f"Bearer {tollgate.token}"}
        return requests.post(f"{ann.root}/api/v1/usage/", json=call, headers=headers, timeout=30)

    answers = at_once(32, set_or_record)

    assert [answer.status_code for answer in answers] == [201, 302] * 16
    account = (
        "SELECT a.id, a.public_id FROM accounts_account a JOIN accounts_user u ON u.id = a.person_id"
        f" WHERE u.email = '{email}'"
    )
    ((account_id, public_id),) = tollgate.query(account)
    owned = f"FROM usage_quota WHERE account_id = {account_id} AND source = 'owner'"
    assert tollgate.query(f"SELECT COUNT(*) {owned}") == [(16,)]
    ((limit,),) = tollgate.query(f"SELECT `limit` {owned} AND ends_at IS NULL")
    balance = f"SELECT used, limit_in_force FROM usage_balance WHERE account_id = {account_id}"
    assert tollgate.query(f"{balance} AND scope = 'account' AND limit_in_force = {limit}") == [
        (160_000, limit)
    ]
    written = f"SELECT action FROM accounts_auditentry WHERE account_public_id = '{public_id}'"
    actions = [row[0] for row in tollgate.query(f"{written} AND action LIKE 'budget.%' ORDER BY id")]
    assert actions == ["budget.set", *["budget.changed"] * 15]
