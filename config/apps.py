from django.apps import AppConfig
from django.core.signals import request_started


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "Tollgate"

    def ready(self) -> None:
        from config.idle_connections import drop_dead_connections

        request_started.connect(drop_dead_connections, dispatch_uid="idle_connections")
