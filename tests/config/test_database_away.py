"""Pages that are asked for while the database is away."""

import pytest
from django.db import OperationalError
from django.test import Client

from accounts.models import User
from billing import usage_page


def asked_for(alice: User, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Client:
    """Alice's browser, on a page whose reading fails."""

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(usage_page, "load", fails)
    browser = Client(raise_request_exception=False)
    browser.force_login(alice)
    return browser


def test_a_page_says_that_the_database_is_away_and_when_to_come_back(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = asked_for(alice, monkeypatch, OperationalError(2006, "Server has gone away"))

    response = browser.get("/settings/usage/")

    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert "away for a moment" in response.content.decode()


def test_another_error_of_the_database_is_not_passed_off_as_its_absence(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = asked_for(alice, monkeypatch, OperationalError(1054, "Unknown column"))

    assert browser.get("/settings/usage/").status_code == 500
