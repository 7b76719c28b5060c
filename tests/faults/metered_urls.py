"""The product's addresses, and beside them views that are metered, for races."""

from decimal import Decimal

from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from config.urls import handler400, handler500  # noqa: F401 - as the product has them
from config.urls import urlpatterns as product
from usage.middleware import MeteredRequest, metered


@csrf_exempt
@metered("image_generation")
def paint(request: MeteredRequest) -> JsonResponse:
    """One image, as announced."""
    return JsonResponse({"images": 1})


@csrf_exempt
@metered("image_generation", quantities={"output_images": 2})
def sketch(request: MeteredRequest) -> JsonResponse:
    """Two are announced and one is made, so that room comes back while others ask for it."""
    request.metered.report(quantities={"output_images": Decimal(1)})
    return JsonResponse({"images": 1})


@csrf_exempt
@metered("image_generation")
def draw(request: MeteredRequest) -> StreamingHttpResponse:
    """One image in parts."""
    return StreamingHttpResponse(iter([b"half ", b"and half"]))


@csrf_exempt
@metered("image_generation")
def spoil(request: MeteredRequest) -> JsonResponse:
    """Fails: nothing is used."""
    return JsonResponse({"images": 0}, status=502)


urlpatterns = [
    path("api/v1/studio/paint/", paint),
    path("api/v1/studio/sketch/", sketch),
    path("api/v1/studio/draw/", draw),
    path("api/v1/studio/spoil/", spoil),
    *product,
]
