"""The WSGI entry point: granian, gunicorn or any other server loads `application`."""

import gc
import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

# What is loaded stays for good: load every view now, and let the garbage collector never look at it again.
import_module(settings.ROOT_URLCONF)
gc.collect()
gc.freeze()
