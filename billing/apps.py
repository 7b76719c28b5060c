from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from accounts.signals import account_being_deleted, account_created
        from billing import catalogue, plans, roles, standing
        from billing.stripe import leaving

        account_created.connect(plans.subscribe_new_account, dispatch_uid="billing_subscribe")
        account_being_deleted.connect(leaving.account_goes, dispatch_uid="billing_leave")
        account_being_deleted.connect(standing.account_goes, dispatch_uid="billing_standing")
        post_migrate.connect(catalogue.load_into_empty, sender=self, dispatch_uid="billing_catalogue")
        # Accounts from before quotas: until theirs are written they would be unlimited.
        post_migrate.connect(plans.follow_all, sender=self, dispatch_uid="billing_follow")
        # Billing is the last app with models: by now the rights on all of them are stored.
        post_migrate.connect(roles.give, sender=self, dispatch_uid="billing_roles")
        for module in (
            "billing.jobs",
            "billing.report_jobs",
            "billing.stripe.jobs",
            "billing.downloads",
        ):  # they register themselves
            import_module(module)
