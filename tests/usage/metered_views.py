"""Metered views of every kind, and their addresses. The documentation shows `generate` and `answer`."""

import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView

from config.urls import handler400, handler500  # noqa: F401 - as the product has them
from config.urls import urlpatterns as product
from usage.middleware import MeteredRequest, metered

runs: list[str] = []  # the views that ran, for tests to look at


def paint(prompt: str) -> list[str]:
    """Stands in for an image model: one image for each word."""
    runs.append("paint")
    return [f"{word}.png" for word in prompt.split()]


def speak(prompt: str) -> Iterator[str]:
    """Stands in for a language model: one token for each word."""
    runs.append("speak")
    yield from prompt.split()


@metered(
    "image_generation", quantities={"output_images": 2}, provider="openai", model="dall-e-3", variant="hd"
)
@require_POST
def generate(request: MeteredRequest) -> JsonResponse:
    images = paint(request.POST["prompt"])
    request.metered.report(quantities={"output_images": len(images)})
    return JsonResponse({"images": images})


@metered("ai_response", quantities={"tokens": 1000}, ttl_seconds=600)
@require_POST
def answer(request: MeteredRequest) -> StreamingHttpResponse:
    def tokens() -> Iterator[str]:
        for count, token in enumerate(speak(request.POST["prompt"]), start=1):
            request.metered.report(quantities={"tokens": count})
            yield token

    return StreamingHttpResponse(tokens(), content_type="text/plain")


@metered("image_generation")
def plain(request: MeteredRequest) -> HttpResponse:
    """Reports nothing; answers with the status that it is asked for, or breaks."""
    runs.append("plain")
    if request.GET.get("status") == "raise":
        raise KeyError("a bug in the view")
    return HttpResponse("done", status=int(request.GET.get("status", "200")))


@csrf_exempt
@metered("image_generation", quantities={"output_images": "1"})
def careful(request: MeteredRequest) -> HttpResponse:
    """Reports what it used, and answers with the status that it is asked for, or breaks."""
    runs.append("careful")
    request.metered.report(quantities={"output_images": 100})
    request.metered.report(
        quantities={"output_images": Decimal("2.0")}, metadata={"seed": 1, "token": "hush"}
    )
    if request.GET.get("status") == "raise":
        raise KeyError("a bug in the view")
    return HttpResponse("done", status=int(request.GET.get("status", "200")))


@login_required
@metered("image_generation")
def page(request: MeteredRequest) -> HttpResponse:
    runs.append("page")
    return HttpResponse("done")


@metered("image_generation", methods=("GET", "POST"))
class Picture(View):
    def get(self, request: MeteredRequest) -> HttpResponse:
        runs.append("Picture")
        return HttpResponse("done")

    def delete(self, request: MeteredRequest) -> HttpResponse:
        return HttpResponse("nothing used")


@metered("image_generation", quantities=lambda request: {"output_images": request.GET.get("images", "1")})
class Gallery(APIView):
    scope = "usage:write"

    def post(self, request: Any) -> Response:
        runs.append("Gallery")
        made = request.data.get("made")
        if made is not None:
            request.metered.report(quantities={"output_images": made}, status=request.data.get("status"))
        return Response({"made": made}, status=request.data.get("answer", 200))


@metered("video_generation", model=lambda request: request.GET.get("model", ""))
@api_view(["POST"])
def film(request: Any) -> Response:
    runs.append("film")
    return Response({"film": True})


@api_view(["POST"])
@metered("video_generation")
def upside_down(request: Any) -> Response:
    runs.append("upside_down")
    return Response({"film": True})


@metered("image_generation", quantities={"output_images": 2})
def stream(request: MeteredRequest) -> StreamingHttpResponse:
    """Ten parts; reports after each one when it is asked to, and breaks after the part it is asked to."""

    def parts() -> Iterator[str]:
        for number in range(1, 11):
            if request.GET.get("report"):
                request.metered.report(quantities={"output_images": number})
            yield f"part {number}\n"
            if request.GET.get("breaks") == str(number):
                raise KeyError("a bug in the stream")
        runs.append("stream")

    return StreamingHttpResponse(parts())


@metered("image_generation", quantities={"output_images": 2})
def slow(request: MeteredRequest) -> StreamingHttpResponse:
    """A part every twentieth of a second, for ten seconds at most."""

    def parts() -> Iterator[str]:
        for number in range(1, 201):
            if request.GET.get("report"):
                request.metered.report(quantities={"output_images": 1})
            yield f"part {number}\n" * 100
            time.sleep(0.05)

    return StreamingHttpResponse(parts())


@metered("image_generation", quantities={"output_images": 2})
async def later(request: MeteredRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for number in range(1, 4):
            yield f"part {number}\n"
            if request.GET.get("breaks") == str(number):
                raise KeyError("a bug in the stream")
        request.metered.report(quantities={"output_images": 3})

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("generate/", generate),
    path("answer/", answer),
    path("plain/", plain),
    path("careful/", careful),
    path("page/", page),
    path("picture/", Picture.as_view()),
    path("gallery/", Gallery.as_view()),
    path("film/", film),
    path("upside-down/", upside_down),
    path("stream/", stream),
    path("slow/", slow),
    path("later/", later),
    *product,
]
