"""A permit that was committed by mistake is noticed."""

import pytest

from accounts.append_only import check_triggers
from accounts.models import Permit


@pytest.mark.django_db
def test_a_committed_permit_is_an_error_of_the_system_check() -> None:
    assert [found.id for found in check_triggers(["default"])] == []

    Permit.objects.create(reason="left behind")

    assert [found.id for found in check_triggers(["default"])] == ["accounts.E001"]
