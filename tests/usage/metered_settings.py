"""The product's settings with the metered views of the tests, for a real server."""

from config.settings import *  # noqa: F403 - all of them

ROOT_URLCONF = "tests.usage.metered_views"
