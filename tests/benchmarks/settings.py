"""The product's settings, and the peers that it is compared with on the same server."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as PRODUCT_APPS

INSTALLED_APPS = [*PRODUCT_APPS, "rest_framework_tracking", "tests.benchmarks"]
ROOT_URLCONF = "tests.benchmarks.urls"
