"""The product's addresses, and beside them, behind the same middleware, those of the peers."""

from django.urls import path

from config.urls import urlpatterns as product
from tests.benchmarks import peers

urlpatterns = [
    path("api/bench/bare/", peers.Bare.as_view()),
    path("api/bench/looked/", peers.Looked.as_view()),
    path("api/bench/metered/", peers.Metered.as_view()),
    path("api/bench/tracked/", peers.Tracked.as_view()),
    path("api/bench/naive/<int:limit>/", peers.Naive.as_view()),
    path("api/bench/naive-once/<int:limit>/", peers.NaiveOnce.as_view()),
    path("api/bench/idiomatic/", peers.Idiomatic.as_view()),
    path("webhooks/bench/", peers.empty),
    *product,
]
