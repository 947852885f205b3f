"""Settings. Those that operators choose come from the environment; .env.example lists them."""

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from corsheaders.defaults import default_headers

from config import __version__
from config.server.postgres import django_database

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(str(BASE_DIR / ".env"))

DEBUG = env.bool("DEBUG", default=False)
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
DATA_DIR = Path(env.str("TALLYBOOK_DATA_DIR", default="var") or "var")
if not DATA_DIR.is_absolute():
    DATA_DIR = BASE_DIR / DATA_DIR
# 0 means one worker per core.
WORKERS = env.int("TALLYBOOK_WORKERS", default=0) or len(os.sched_getaffinity(0))
# How long a retry is recognized by its idempotency key. Stripe retries for three days.
KEEP_KEYS_DAYS = env.int("TALLYBOOK_KEEP_KEYS_DAYS", default=7)
# What an event of an unknown e-mail does: crm.models.NewContacts.
NEW_CONTACTS = env.str("TALLYBOOK_NEW_CONTACTS", default="none")
HTTPS = env.bool("TALLYBOOK_HTTPS", default=False)


def _stored_secret_key() -> str:
    """Return the secret key of this data folder, which is created by the first process.

    It is created here and not by `serve`, because every management command needs it. It is written
    to a draft and linked, so that concurrent processes agree on one key and a crash leaves no empty
    file.
    """
    path = DATA_DIR / "secret_key"
    if not path.exists():
        DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = DATA_DIR / f"secret_key.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first, and its key is used
        finally:
            draft.unlink()
    return path.read_text()


SECRET_KEY = env.str("SECRET_KEY", default="") or _stored_secret_key()

INSTALLED_APPS = [
    # Before the admin, because they extend its templates by templates of the same names.
    "config",
    "crm",
    "events",
    "events.apps.TallybookAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_ALLOW_HEADERS = [*default_headers, "idempotency-key", "api-token"]
CORS_EXPOSE_HEADERS = ["Idempotency-Replayed", "Retry-After"]
MIDDLEWARE = [
    "config.middleware.HealthMiddleware",
    "config.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "config.middleware.AdminSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.middleware.AdminAuthenticationMiddleware",
    "config.middleware.AdminMessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# What `serve` runs under a lock before it listens, and what it runs every hour.
BOOTSTRAP_STEPS = [
    "events.activecampaign.credentials.tracking_key",
    "crm.bootstrap.create_first_login",
]
HOURLY_COMMANDS = ["prune_idempotency_keys"]
# What a backup and a restore compare, and what a restore does for those whom the old store knows.
STORE_FIGURES = "events.maintenance.store_figures"
RESTORE_STEPS = ["crm.restores.keep_opt_outs", "events.restores.erase_again"]
# The rows that migrations, a first start and logins write, as SQL conditions. A restore replaces a
# store that holds no others without being told to.
FIRST_ROWS = {
    "public.auth_group": "true",
    "public.auth_group_permissions": "true",
    "public.auth_permission": "true",
    "public.auth_user": "username = 'admin'",
    "public.axes_accessattempt": "true",
    "public.axes_accessattemptexpiration": "true",
    "public.crm_applicationpassword": "name = 'first start'",
    "public.crm_subscriber": "email = 'ada@example.com'",
    "public.django_content_type": "true",
    "public.django_migrations": "true",
    "public.events_trackingkey": "true",
}
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.server.wsgi.application"
# The API's URLs work with and without a trailing slash. A redirect would lose a POST's body.
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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

# Without DATABASE_URL, `manage.py serve` runs an embedded PostgreSQL in DATA_DIR.
EMBEDDED_POSTGRES = not env.str("DATABASE_URL", default="")
_database: dict[str, Any] = (
    django_database(DATA_DIR) if EMBEDDED_POSTGRES else env.db("DATABASE_URL")
)
_database["CONN_MAX_AGE"] = None
# One statement instead of three for the choices of a form.
_database["DISABLE_SERVER_SIDE_CURSORS"] = True
_database.setdefault("OPTIONS", {})
_database["OPTIONS"] |= {
    "connect_timeout": 2,
    # Parameters bound and frequent statements prepared on the server, because it tracks 999 events
    # a second instead of 758.
    "server_side_binding": True,
    "prepare_threshold": 5,
}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Five wrong passwords for a name from one address lock it there for ten minutes. The login reports
# it (events/site.py), so axes' middleware, which API clients would pass, is not used.
AUTHENTICATION_BACKENDS = [
    "config.login.SerializedLoginBackend",
    "django.contrib.auth.backends.ModelBackend",
]
SILENCED_SYSTEM_CHECKS = ["axes.W002"]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_RESET_ON_SUCCESS = True
# Attempts during the lock are not checked and do not prolong it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_CALLABLE = "config.login.attempted_username"
AXES_CLIENT_IP_CALLABLE = "config.login.client_address"
# Only failed attempts are stored, until the first login or failure ten minutes later.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
# Its log lines have the address without the name, because some type their password there.
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]

LOGIN_REDIRECT_URL = "/admin/"

USE_TZ = True
USE_I18N = False
LANGUAGE_CODE = "en-us"
STATIC_URL = "/static/"
# Static files are served from the packages that hold them, so collectstatic is not needed.
WHITENOISE_USE_FINDERS = True

CSRF_FAILURE_VIEW = "config.error_pages.csrf_failure"
# Longer bodies are rejected in config/server/wsgi.py, before Django reads them. A path here is the
# end of a URL's path without its trailing slash.
MAX_BODY_BYTES = 1024 * 1024
MAX_LARGE_BODY_BYTES = 5 * MAX_BODY_BYTES
LARGE_BODY_PATHS = ("/subscribers/track-events", "/subscribers/bulk-add-update")
GZIP_BODY_PATHS = ("/subscribers/track-events",)
DATA_UPLOAD_MAX_MEMORY_SIZE = None
# The form of a contact has two fields for each of its 500 tags and 500 lists.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2500

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
X_FRAME_OPTIONS = "DENY"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["crm.authentication.ApplicationPasswordAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["crm.permissions.HasAccess"],
    "DEFAULT_PARSER_CLASSES": [
        "config.api.parsers.JSONParser",
        "config.api.parsers.FormParser",
        "config.api.parsers.MultiPartParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["config.api.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.api.renderers.JSONOnlyNegotiation",
    "DEFAULT_METADATA_CLASS": "config.api.metadata.Metadata",
    "DEFAULT_SCHEMA_CLASS": "config.api.schema.Schema",
    "EXCEPTION_HANDLER": "config.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "FORMAT_SUFFIX_KWARG": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tallybook",
    "DESCRIPTION": "Counts and stores what contacts do: FluentCRM's REST API on PostgreSQL.",
    "VERSION": __version__,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "PREPROCESSING_HOOKS": ["config.api.schema.select_endpoints"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.api.schema.add_error_responses",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        # Its WARNING lines repeat every 4xx response.
        "django.request": {"level": "ERROR"},
        # Hostile Host headers and too many fields, which are answered with 400.
        "django.security": {"level": "CRITICAL"},
    },
}
