"""A view that only looks, and the product's own addresses."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from config.urls import urlpatterns as product
from usage.middleware import metered


@metered("image_generation", quantities={"output_images": 1}, hold=False)
def looks(request: HttpRequest) -> HttpResponse:
    return HttpResponse("seen")


@metered("image_generation", hold=False)
def reports(request: HttpRequest) -> HttpResponse:
    request.metered.report(quantities={"output_images": 1})  # type: ignore[attr-defined]
    return HttpResponse()


urlpatterns = [path("api/looks/", looks), path("api/reports/", reports), *product]
