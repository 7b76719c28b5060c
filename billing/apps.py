from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from accounts.signals import account_created
        from billing import catalogue, plans

        account_created.connect(plans.subscribe_new_account, dispatch_uid="billing_subscribe")
        post_migrate.connect(catalogue.load_into_empty, sender=self, dispatch_uid="billing_catalogue")
        # Accounts from before quotas: until theirs are written they would be unlimited.
        post_migrate.connect(plans.follow_all, sender=self, dispatch_uid="billing_follow")
        for module in (
            "billing.jobs",
            "billing.stripe.jobs",
            "billing.downloads",
        ):  # they register themselves
            import_module(module)
