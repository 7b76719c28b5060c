"""Mistakes in the wiring of metered views are system checks, each with a hint."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views import View
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.usage import metered_views
from usage.middleware import metered
from usage.models import Meter, Operation
from usage.permission import checks

OURS, THEIRS = checks.MIDDLEWARE, checks.AUTHENTICATION

pytestmark = pytest.mark.django_db


@metered("image_generation")
def right(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@metered("image_generatoin")
class Misspelt(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


@metered("image_generation")
class Nobody(APIView):
    authentication_classes = ()

    def get(self, request: Request) -> Response:
        return Response()


@metered("image_generation")
@api_view(["GET"])
@authentication_classes([])
def nobody(request: Request) -> Response:
    return Response()


@metered("ai_response")
def wordless(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@pytest.fixture
def found(settings: Any) -> Callable[..., list[CheckMessage]]:
    """The messages of the check for an URLconf with these views, a level deep."""

    def check(*views: Any) -> list[CheckMessage]:
        class URLs:
            urlpatterns = [path("a/", include([path(f"{n}/", view) for n, view in enumerate(views)]))]

        settings.ROOT_URLCONF = URLs
        messages = checks.check_metered_views()
        assert all(message.hint for message in messages)
        return messages

    return check


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_what_is_wired_as_it_should_be_is_silent(found: Callable, settings: Any) -> None:
    assert found(right, Misspelt.as_view(), Nobody.as_view()) != []
    assert found(right) == []
    settings.ROOT_URLCONF = metered_views
    assert checks.check_metered_views() == []


def test_without_metered_views_nothing_is_asked_for(settings: Any, django_assert_num_queries: Any) -> None:
    settings.MIDDLEWARE = settings.KEY_MIDDLEWARE = []

    with django_assert_num_queries(0):
        assert checks.check_metered_views() == []


def test_the_middleware_is_missing(found: Callable, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != OURS]

    messages = found(right)

    assert ids(messages) == ["usage.E001"]
    assert "/a/0/" in messages[0].msg


def test_the_middleware_stands_before_authentication(found: Callable, settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, *(name for name in settings.MIDDLEWARE if name != OURS)]

    assert ids(found(right)) == ["usage.E002"]


def test_the_middleware_is_missing_where_keys_come_in(found: Callable, settings: Any) -> None:
    settings.KEY_MIDDLEWARE = [name for name in settings.KEY_MIDDLEWARE if name != OURS]
    assert ids(found(right)) == ["usage.E002"]

    del settings.KEY_MIDDLEWARE  # a project that has only one stack
    assert found(right) == []


def test_an_operation_that_no_one_knows(found: Callable) -> None:
    messages = found(Misspelt.as_view(), right)

    assert ids(messages) == ["usage.W003"]
    assert "'image_generatoin'" in messages[0].msg
    Operation.objects.create(slug="image_generatoin", name="It is meant")
    assert found(Misspelt.as_view()) == []


def test_a_drf_view_that_authenticates_nobody(found: Callable) -> None:
    assert ids(found(Nobody.as_view(), nobody, right)) == ["usage.E004", "usage.E004"]


def test_a_view_that_announces_nothing_of_what_is_limited(found: Callable) -> None:
    messages = found(wordless)

    assert ids(messages) == ["usage.W005"]
    assert "output_tokens" in (messages[0].hint or "")
    Meter.objects.filter(slug="tokens").update(operations=[])
    assert found(wordless) == []


def test_before_the_first_migrate_and_without_a_database_nothing_breaks(
    found: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: object, **options: object) -> None:
        raise OperationalError("no such table: usage_operation")

    Operation.objects.all().delete()
    assert found(Misspelt.as_view()) == []
    monkeypatch.setattr(Operation.objects, "values_list", gone)
    assert found(Misspelt.as_view()) == []


def test_check_runs_it(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.usage.metered_views"
    call_command("check")
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != OURS]

    with pytest.raises(SystemCheckError, match=r"usage\.E001"):
        call_command("check")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ttl_seconds": 0}, ValueError),
        ({"ttl_seconds": 3601}, ValueError),
        ({"quantities": {"output_images": 0.5}}, TypeError),
        ({"quantities": {"output_images": True}}, TypeError),
    ],
)
def test_what_cannot_be_meant_fails_where_it_is_written(options: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        metered("image_generation", **options)
