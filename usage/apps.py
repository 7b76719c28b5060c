from importlib import import_module

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.backends.signals import connection_created


class UsageConfig(AppConfig):
    name = "usage"

    def ready(self) -> None:
        from accounts.signals import account_being_deleted
        from usage import changed_days, ledger, price_book
        from usage.fields import register_sqlite_total
        from usage.permission import checks

        connection_created.connect(register_sqlite_total, dispatch_uid="exact_total")
        account_being_deleted.connect(ledger.delete_account, dispatch_uid="usage_ledger")
        price_book.watch_catalogue()
        changed_days.watch_terms()  # after the version has been moved
        register(checks.check_metered_views, Tags.urls)
        for module in ("usage.jobs", "usage.downloads"):  # they register themselves
            import_module(module)
