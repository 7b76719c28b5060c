"""What no app owns: the schema and its page, health, and answers to what there is no view for."""

from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import resolve
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import extend_schema, inline_serializer
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import CharField
from rest_framework.views import APIView

from accounts.errors import DomainError
from accounts.problems import problem_response
from config.api import JSONOnly
from usage.retrying import away
from usage.schema import Problem


class SchemaFormat(JSONOnly):
    """For the schema alone: the format of `?format=` (json or yaml), else what Accept asks for, else JSON."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        wanted = request.query_params.get("format", "")
        accepted = request.headers.get("Accept", "")
        choices = [(renderer, renderer.media_type or "") for renderer in renderers]
        for renderer, media_type in choices:
            if wanted in media_type if wanted else media_type in accepted:
                return renderer, media_type
        return choices[0]


class Health(APIView):
    """200 when the database answers, else 503; for load balancers, without a key."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(
        operation_id="getHealth",
        summary="Whether the database answers",
        responses={
            200: inline_serializer("HealthState", {"status": CharField()}),
            (503, "application/problem+json"): Problem,
        },
    )
    def get(self, request: Request) -> Response:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (DatabaseError, InterfaceError) as error:
            raise away() from error
        return Response({"status": "ok"})


class Schema(SpectacularAPIView):
    """The OpenAPI schema: JSON, or YAML for who asks for it (`?format=yaml`, or Accept)."""

    authentication_classes = []
    permission_classes = []
    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer2, OpenApiYamlRenderer]
    content_negotiation_class = SchemaFormat


class Docs(SpectacularSwaggerSplitView):
    """The schema as a page to browse; its script is a file of its own, as the content policy asks."""

    authentication_classes = []
    permission_classes = []
    url_name = "schema"
    template_name = "docs/endpoints.html"


@csrf_exempt
def unknown_endpoint(request: HttpRequest, path: str = "") -> HttpResponse:
    """Under /api/ nobody gets an HTML page, whatever they send."""
    message = "There is no such endpoint."
    with_slash = f"{request.path}/"
    if not request.path.endswith("/") and resolve(with_slash).func is not unknown_endpoint:
        message = f"There is no such endpoint; with a slash at its end there is: {with_slash}"
    return problem_response(DomainError("not_found", message, 404))


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400, such as for a Host that is not ours."""
    if is_api(request):
        return problem_response(DomainError("malformed", "This request cannot be served.", 400))
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: a bug of ours; its trace is in the log."""
    if is_api(request):
        return problem_response(DomainError("server_error", "Something went wrong on our side.", 500))
    return defaults.server_error(request)
