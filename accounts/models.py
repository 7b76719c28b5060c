"""Who is asking: users, accounts, members, keys, and the audit trail."""

from typing import ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.utils import timezone

from accounts.append_only import append_only
from accounts.fields import BytesField, ExactCharField, ExactEmailField, random_identifier

SCOPES = {
    "usage:write": "Record usage",
    "usage:read": "Read usage, totals and history",
    "quotas": "Check and reserve quota",
    "billing:read": "Read plans, prices, cost and charge",
    "accounts:create": "Create accounts by naming them (service keys)",
    "net:read": "Read the report over all accounts (service keys)",
}
SERVICE_ONLY_SCOPES = frozenset({"accounts:create", "net:read"})


def new_account_id() -> str:
    return random_identifier("acc_")


def validate_time_zone(value: str) -> None:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:  # an unknown name is a KeyError
        raise ValidationError(f"{value!r} is not a time zone such as Asia/Kolkata.") from error


def validate_external_id(value: str) -> None:
    if value.startswith("acc_"):
        raise ValidationError("An external id may not begin with acc_.")
    if "\x00" in value or value != value.strip() or not value:
        raise ValidationError("An external id has no NUL and no white space at its ends.")


def default_time_zone() -> str:
    return settings.TIME_ZONE


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=normal_email(username or ""))

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        user = self.model(email=normal_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        return self.create_user(email, password, **{"is_staff": True, "is_superuser": True, **fields})


def normal_email(value: str) -> str:
    """One spelling per address: no white space around it, lower case."""
    return value.strip().lower()


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by e-mail. Saving a new one also opens the personal account, or neither is saved."""

    email = ExactEmailField(max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_staff = models.BooleanField(default=False, help_text="May use the admin.")
    is_active = models.BooleanField(default=True, help_text="May sign in.")
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("email",)

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        self.email = normal_email(self.email)

    def save(self, *args: object, **kwargs: object) -> None:
        self.email = normal_email(self.email)
        # One transaction with the personal account, which post_save opens (accounts.lifecycle).
        with transaction.atomic():
            super().save(*args, **kwargs)  # type: ignore[arg-type]


class Account(models.Model):
    """Who is billed: a person's own (made with the user), or a business with members."""

    class Kind(models.TextChoices):
        PERSONAL = "personal"
        BUSINESS = "business"

    public_id = ExactCharField(max_length=32, unique=True, default=new_account_id, editable=False)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.BUSINESS)
    name = models.CharField(max_length=200)
    external_id = ExactCharField(
        max_length=200,
        unique=True,
        null=True,
        blank=True,
        validators=[validate_external_id],
        help_text="The id that your own system knows this account by.",
    )
    person = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="personal_account",
        help_text="Whose personal account it is.",
    )
    time_zone = models.CharField(
        max_length=64,
        default=default_time_zone,
        validators=[validate_time_zone],
        help_text="Decides which local day and month a record falls on, such as Asia/Kolkata.",
    )
    currency = models.CharField(
        max_length=3,
        default="INR",
        validators=[RegexValidator(r"^[A-Z]{3}$", "Three capital letters, such as INR.")],
        help_text="Shown beside USD.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    revision = models.BigIntegerField(
        default=1,
        editable=False,
        help_text="Counts what changed of it that recording remembers: its quotas and their windows.",
    )
    users: models.ManyToManyField = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Member", related_name="accounts"
    )

    class Meta:
        ordering = ("name", "id")
        permissions = (("view_as_user", "Can see an account's pages as its user does"),)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: object, **kwargs: object) -> None:
        if not self._state.adding and kwargs.get("update_fields") is None and not kwargs.get("force_insert"):
            # A counter that others move meanwhile must not be set back.
            names = [field.name for field in self._meta.concrete_fields if not field.primary_key]
            kwargs["update_fields"] = [name for name in names if name != "revision"]
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def clean(self) -> None:
        self.external_id = self.external_id or None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class Member(models.Model):
    """A user's place in an account."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        MEMBER = "member"

    account = models.ForeignKey(Account, models.CASCADE, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "user"), name="accounts_member_once"),)
        ordering = ("account", "id")

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Invitation(models.Model):
    """An open invitation to an account. Accepting or withdrawing it deletes the row; the audit trail stays.

    Of the link only a hash is stored: it works once, for one address, until it expires.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="invitations")
    email = ExactEmailField(max_length=254)
    role = models.CharField(max_length=6, choices=Member.Role, default=Member.Role.MEMBER)
    secret_hash = BytesField(length=32, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    sent_at = models.DateTimeField(null=True, editable=False, help_text="When its last mail went out.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "email"), name="accounts_invitation_once"),)
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.email} ({self.role})"

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()


class AccountDeletion(models.Model):
    """An owner's wish that an account be deleted, and when it is due. Deleting the row keeps the account."""

    account = models.OneToOneField(Account, models.CASCADE, related_name="deletion")
    asked_by = models.CharField(max_length=254, editable=False, help_text="The owner's e-mail.")
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    due_at = models.DateTimeField(db_index=True, editable=False)

    class Meta:
        ordering = ("due_at",)

    def __str__(self) -> str:
        return f"{self.account} on {self.due_at:%Y-%m-%d}"


class Key(models.Model):
    """An API key. Only its hash is stored; the key itself is shown once, when it is made.

    A key with an account acts for that account; one without is a service key,
    which names the account in every request.
    """

    account = models.ForeignKey(Account, models.CASCADE, null=True, blank=True, related_name="keys")
    name = models.CharField(max_length=100, blank=True)
    prefix = ExactCharField(max_length=24, unique=True, editable=False)
    secret_hash = BytesField(length=32, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: only what the account's plan allows."
    )
    tokens_per_minute = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Empty: only what the account's plan allows."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}".strip()

    @property
    def is_service(self) -> bool:
        return self.account_id is None

    def is_usable(self, at: object = None) -> bool:
        now = at or timezone.now()
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)  # type: ignore[operator]


@append_only
class AuditEntry(models.Model):
    """One thing that somebody did, and why. Written with the change, never edited.

    Plain ids instead of foreign keys: an entry outlives what it speaks of.
    """

    at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)
    actor_id = models.BigIntegerField(null=True, editable=False)
    actor = models.CharField(max_length=254, editable=False, help_text="The user's e-mail, or the command.")
    action = models.CharField(max_length=64, editable=False)
    account_public_id = models.CharField(max_length=32, blank=True, editable=False, db_index=True)
    subject = models.CharField(max_length=200, blank=True, editable=False)
    reason = models.TextField(blank=True, editable=False)
    before = models.JSONField(null=True, editable=False)
    after = models.JSONField(null=True, editable=False)
    ip_address = models.CharField(max_length=45, blank=True, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        indexes = (models.Index(fields=("actor_id", "id"), name="accounts_audit_by_actor"),)

    def __str__(self) -> str:
        return f"{self.action} {self.subject}".strip()


class Role(models.Model):
    """Which group is one of the roles that Tollgate brings, and which rights it was ever given by itself.

    What staff take from the group stays taken: a later version gives it only what is new.
    """

    name = ExactCharField(max_length=64, unique=True, editable=False)
    group = models.OneToOneField("auth.Group", models.SET_NULL, null=True, editable=False, related_name="+")
    given = models.JSONField(default=list, editable=False)

    def __str__(self) -> str:
        return self.name


class Permit(models.Model):
    """Lets one transaction change append-only rows (see `accounts.append_only`); never committed."""

    reason = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.reason
