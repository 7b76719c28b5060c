"""Tollgate's settings: one file, driven by the environment, documented in docs/operate.

Every value is checked while this file is read; a bad one stops the process
with a single line that names the variable.
"""

import importlib.util
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from config.environment import Environment, is_loopback, refuse

BASE_DIR = Path(__file__).resolve().parent.parent
SECRETS_FILE = BASE_DIR / ".tollgate.env"
env = Environment(SECRETS_FILE)

DEBUG = env.flag("DEBUG", default=False)
PORT = env.whole_number("PORT", 8000, 1, 65535)
BASE_URL = env.origin("BASE_URL", f"http://127.0.0.1:{PORT}")
HTTPS = BASE_URL.startswith("https://")

SECRET_KEY = env.secret("SECRET_KEY", may_generate=not HTTPS)
API_KEY_PEPPER = env.secret("API_KEY_PEPPER", may_generate=not HTTPS)
ALLOWED_HOSTS = env.hosts(
    "ALLOWED_HOSTS", [str(urlsplit(BASE_URL).hostname), "127.0.0.1", "localhost", "[::1]"]
)
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")
QUOTA_REFUSED_STATUS = int(env.choice("QUOTA_REFUSED_STATUS", "429", ("429", "403")))
RETENTION_MONTHS = env.whole_number("RETENTION_MONTHS", 0, 0, 1200)  # 0: raw records are kept for ever

STAFF_TWO_STEP = env.flag("STAFF_TWO_STEP", default=False)

DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'tollgate.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("mysql") and importlib.util.find_spec("MySQLdb") is None:
    refuse("DATABASE_URL", "names MySQL, and the mysql extra (mysqlclient) is not installed")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STRIPE_SECRET_KEY = env.text("STRIPE_SECRET_KEY")
if STRIPE_SECRET_KEY and not STRIPE_SECRET_KEY.startswith(("sk_test_", "sk_live_", "rk_test_", "rk_live_")):
    refuse("STRIPE_SECRET_KEY", "does not begin with sk_test_, sk_live_, rk_test_ or rk_live_")
STRIPE_WEBHOOK_SECRETS = env.names("STRIPE_WEBHOOK_SECRETS", [])
if not all(secret.startswith("whsec_") for secret in STRIPE_WEBHOOK_SECRETS):
    refuse("STRIPE_WEBHOOK_SECRETS", "holds one that does not begin with whsec_")
STRIPE_API_BASE = env.url("STRIPE_API_BASE", "https://api.stripe.com", ("http", "https"))
if is_loopback(STRIPE_API_BASE):
    if not STRIPE_SECRET_KEY.startswith("sk_test_"):
        refuse("STRIPE_API_BASE", "a loopback address is accepted only with an sk_test_ key")
elif not STRIPE_API_BASE.startswith("https://"):
    refuse("STRIPE_API_BASE", "must be https://, except on a loopback address")

REDIS_URL = env.text("REDIS_URL")
CACHES: dict[str, dict[str, object]]
if REDIS_URL:
    if not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
        refuse("REDIS_URL", "does not begin with redis://, rediss:// or unix://")
    if importlib.util.find_spec("redis") is None:
        refuse("REDIS_URL", "is set, and the redis package is not installed")
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
else:
    # Sign-ins are limited by what is kept here, which the 300 entries of Django's default would push out.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    }

vars().update(env.mail("EMAIL_URL", "consolemail://"))
EMAIL_TIMEOUT = 10  # a page waits for the mail that it sends
DEFAULT_FROM_EMAIL = env.mail_address("DEFAULT_FROM_EMAIL", "Tollgate <tollgate@localhost>")

SENTRY_DSN = env.text("SENTRY_DSN")
if SENTRY_DSN:
    if not re.fullmatch(r"https?://[^@/\s]+@[^@/\s]+/\S+", SENTRY_DSN):
        refuse("SENTRY_DSN", "is not a DSN such as https://key@sentry.example.com/1")
    if importlib.util.find_spec("sentry_sdk") is None:
        refuse("SENTRY_DSN", "is set, and the sentry-sdk package is not installed")
    import sentry_sdk  # type: ignore[import-not-found]

    sentry_sdk.init(dsn=SENTRY_DSN, send_default_pii=False)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.import_export",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "import_export",
    "django_htmx",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "accounts",
    "usage",
    "billing",
    "config",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.middleware.admin_csp",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "usage.middleware.MeteredViews",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.staff_door.StaffDoor",
    "accounts.sessions.seen",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.DatabaseAway",
]

# For API requests that carry a key (config.wsgi): no session, no cookie, nothing of a page.
KEY_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "usage.middleware.MeteredViews",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/settings/usage/"
LOGOUT_REDIRECT_URL = LOGIN_URL
PASSWORD_RESET_TIMEOUT = 3600
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# Signing up and in: django-allauth, by e-mail alone. accounts/urls.py names the pages of it that there are.
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = (
    True  # typed where one signed up: no second browser, no lost session
)
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_FORMS = {
    "login": "accounts.sign_in_forms.SignInForm",
    "signup": "accounts.sign_in_forms.SignUpForm",
    "confirm_email_verification_code": "accounts.sign_in_forms.EmailCodeForm",
    "reset_password": "accounts.sign_in_forms.ResetForm",
    "reset_password_from_key": "accounts.sign_in_forms.NewPasswordForm",
    "change_password": "accounts.sign_in_forms.ChangePasswordForm",
    "set_password": "accounts.sign_in_forms.SetPasswordForm",
    "reauthenticate": "accounts.sign_in_forms.PasswordAgainForm",
}
MFA_ADAPTER = "accounts.adapter.TwoStepAdapter"
MFA_FORMS = {
    "authenticate": "accounts.sign_in_forms.SecondStepForm",
    "reauthenticate": "accounts.sign_in_forms.SecondStepAgainForm",
    "activate_totp": "accounts.sign_in_forms.AppCodeForm",
}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Tollgate"

LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "config" / "static"]
WHITENOISE_USE_FINDERS = True  # serves from the packages themselves: no collectstatic before a first start

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Cached only where the cache is shared: a process's own would go on knowing a session that has signed out.
SESSION_ENGINE = f"django.contrib.sessions.backends.{'cached_db' if REDIS_URL else 'db'}"
CSRF_TRUSTED_ORIGINS = [BASE_URL]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # MariaDB has no conditional unique constraints. allauth's say that an address has one user (User.email is
    # unique, and accounts.email_addresses keeps one row for it) and a user one authenticator of a kind.
    "models.W036",
    "security.W005",  # whether subdomains are https is not ours to promise
    "security.W008",  # TLS ends at the proxy in front, which also redirects
    "security.W021",  # preloading a domain is its owner's decision
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.KeyAuthentication",
        "accounts.authentication.BrowserSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.authentication.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["usage.rates.throttling.PerMinute"],
    "DEFAULT_RENDERER_CLASSES": ["config.api.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["usage.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.api.JSONOnly",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.api.problem_handler",
    "DEFAULT_PAGINATION_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,  # ?format= chooses a file format, not a DRF renderer
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Tollgate",
    "VERSION": "1",
    "DESCRIPTION": "Usage tracking, quotas and billing for products built on AI models.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.openapi.describe_rate_limits",
    ],
}

IMPORT_EXPORT_ESCAPE_FORMULAE_ON_EXPORT = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # A client error is the client's news, not the operator's.
    "loggers": {"tollgate": {"level": "INFO"}, "django.request": {"level": "ERROR"}},
}

TESTING = "pytest" in sys.modules
if TESTING:
    # Argon2 is slow on purpose; tests make hundreds of users.
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

UNFOLD = {
    "SITE_TITLE": "Tollgate",
    "SITE_HEADER": "Tollgate",
    "SITE_SUBHEADER": "Usage, quotas and billing",
    "SITE_URL": "/",
    "SITE_ICON": "config.admin_site.mark",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.admin_site.mark"}],
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "STYLES": ["config.admin_site.stylesheet"],
    "DASHBOARD_CALLBACK": "config.admin_site.first_page",
    "SIDEBAR": {"show_search": True, "navigation": "config.admin_site.navigation"},
    # The colours of tollgate.css as Unfold's two scales.
    "COLORS": {
        "base": {
            "50": "#f7f7f4",
            "100": "#f1f1ed",
            "200": "#e3e3dd",
            "300": "#cfd1ca",
            "400": "#a6aba1",
            "500": "#6b7066",
            "600": "#4b4f48",
            "700": "#3b3f39",
            "800": "#2e322d",
            "900": "#1b1d1a",
            "950": "#131412",
        },
        "primary": {
            "50": "#f1f8f6",
            "100": "#e6f1ee",
            "200": "#c3e2da",
            "300": "#8fd0c1",
            "400": "#4cc9b0",
            "500": "#35b39b",
            "600": "#0b6b5b",
            "700": "#085447",
            "800": "#074439",
            "900": "#06372f",
            "950": "#04231e",
        },
    },
}
