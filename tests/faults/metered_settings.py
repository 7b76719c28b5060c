"""The product's settings with metered views."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.faults.metered_urls"
