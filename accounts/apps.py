from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.models.signals import post_migrate, post_save


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import (
            append_only,
            email_addresses,
            lifecycle,
            schema,  # noqa: F401 - registers itself
            sign_in_trail,
        )
        from accounts.models import User

        # Sent once per app, when the migrations of all of them have been applied.
        post_migrate.connect(append_only.install, sender=self, dispatch_uid="append_only")
        register(append_only.check_triggers, Tags.database)  # type: ignore[call-overload]
        post_save.connect(lifecycle.open_personal_account, sender=User, dispatch_uid="personal_account")
        post_save.connect(email_addresses.keep_in_step, sender=User, dispatch_uid="email_address")
        sign_in_trail.connect()
