"""Settings. Those that operators choose come from the environment: config/environment.py."""

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from config import __version__, environment
from config.server.machine import machine_cores
from config.server.postgres import django_database

BASE_DIR = Path(__file__).resolve().parent.parent

environment.read_file(BASE_DIR / ".env")
chosen = environment.read(os.environ)

DEBUG = chosen["DEBUG"]
HOST = chosen["HOST"]
PORT = chosen["PORT"]
ALLOWED_HOSTS = chosen["ALLOWED_HOSTS"]
TIME_ZONE = chosen["TIME_ZONE"]
DATA_DIR: Path = BASE_DIR / chosen["TALLYBOOK_DATA_DIR"]
# Of uploads, exports and rejected rows, each job in a folder of its own.
FILES_DIR = DATA_DIR / "files"
# How many daily backups are kept. 0 makes none.
BACKUPS = chosen["TALLYBOOK_BACKUPS"]
BACKUPS_DIR: Path = BASE_DIR / (chosen["TALLYBOOK_BACKUP_DIR"] or DATA_DIR / "backups")
# 0 means one worker per core.
WORKERS = chosen["TALLYBOOK_WORKERS"] or machine_cores()
# A worker above it is replaced. It needs 100 MiB at rest, and one request 300 at most.
WORKER_MEMORY_MB = chosen["TALLYBOOK_WORKER_MEMORY_MB"]
# How long a retry is recognized by its idempotency key. Stripe retries for three days.
KEEP_KEYS_DAYS = chosen["TALLYBOOK_KEEP_KEYS_DAYS"]
# What an event of an unknown e-mail does: crm.models.NewContacts.
NEW_CONTACTS = chosen["TALLYBOOK_NEW_CONTACTS"]
HTTPS = chosen["TALLYBOOK_HTTPS"]
# How many proxies add the address before them to X-Forwarded-For.
PROXIES = int(HTTPS) if chosen["TALLYBOOK_PROXIES"] is None else chosen["TALLYBOOK_PROXIES"]
# Receivers of webhooks that may be private, and may be sent to without TLS.
WEBHOOK_ALLOWED_HOSTS = chosen["TALLYBOOK_WEBHOOK_ALLOWED_HOSTS"]
WEBHOOK_ALLOWED_NETS = chosen["TALLYBOOK_WEBHOOK_ALLOWED_NETS"]
# Who may read /metrics. Empty: it does not exist.
METRICS_TOKEN = chosen["TALLYBOOK_METRICS_TOKEN"]
# Lines of JSON on standard error, about each request and about slow statements: config/json_log.py.
ACCESS_LOG = chosen["TALLYBOOK_ACCESS_LOG"]
SLOW_STATEMENT_MS = chosen["TALLYBOOK_SLOW_STATEMENT_MS"]
# The path of Tallybook on its site, such as /crm. config/server/target.py removes it from requests.
FORCE_SCRIPT_NAME: str = chosen["TALLYBOOK_URL_PREFIX"]


def _stored_secret_key() -> str:
    """Return the secret key of this data folder, which is created by the first process.

    It is created here and not by `serve`, because every management command needs it. It is written
    to a draft and linked, so that concurrent processes agree on one key and a crash leaves no empty
    file.

    Raises:
        InvalidSettings: the data folder cannot be used.
    """
    path = DATA_DIR / "secret_key"
    try:
        if not path.exists():
            _create_secret_key(path)
        return path.read_text()
    except OSError as error:
        raise environment.InvalidSettings(
            f"TALLYBOOK_DATA_DIR is '{DATA_DIR}', where the secret key cannot be kept: {error}."
        ) from None


def _create_secret_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"secret_key.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(64))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first, and its key is used
    finally:
        draft.unlink()


SECRET_KEY_IS_CHOSEN = bool(chosen["SECRET_KEY"])
SECRET_KEY = chosen["SECRET_KEY"] or _stored_secret_key()

INSTALLED_APPS = [
    # Before the admin, because they extend its templates by templates of the same names.
    "config",
    "crm",
    "events",
    "transfers",
    "automations",
    "events.apps.TallybookAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
# Sites whose pages may call the API from a browser: ["*"] for any, [] for none.
CORS_ALLOWED_ORIGINS = chosen["CORS_ALLOWED_ORIGINS"]
MIDDLEWARE = [
    "config.middleware.HealthMiddleware",
    "config.middleware.ContentSecurityPolicyMiddleware",
    "config.middleware.ForwardedProtocolMiddleware",
    *(["config.middleware.PlainHttpMiddleware"] if HTTPS else []),
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.AdminSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.middleware.AdminAuthenticationMiddleware",
    "config.middleware.AdminMessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# What of it does nothing for API calls. The web server leaves it out for them (config/server/
# responses.py), because each one takes some microseconds.
PAGE_MIDDLEWARE = {
    "config.middleware.HealthMiddleware",
    "config.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.AdminSessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.middleware.AdminAuthenticationMiddleware",
    "config.middleware.AdminMessageMiddleware",
}
# What `serve` runs under a lock before it listens, and what it runs every hour.
BOOTSTRAP_STEPS = [
    "events.activecampaign.credentials.tracking_key",
    "crm.bootstrap.create_first_login",
]
# Returns the secret key that `serve` gives to its web server.
SHARED_KEY = "crm.bootstrap.shared_secret_key"
# Tells /readyz and `serve` whether the first login was ever used.
FIRST_LOGIN_IS_UNUSED = "crm.bootstrap.first_login_is_unused"
# Tells /readyz and the overview how automations fall behind.
AUTOMATIONS_LATENESS = "automations.health.lateness"
# Return the metrics of the store, beside those of config/metrics.py.
STORE_METRICS = ["crm.metrics.metrics", "automations.metrics.metrics"]
# Children of `serve` besides the web server.
WORKER_COMMANDS = ["run_jobs", "run_automations"]
HOURLY_COMMANDS = [
    *("prune_idempotency_keys", "clearsessions", "prune_failed_logins", "prune_jobs"),
    # Last, because they may take minutes.
    *("prune_automations", "daily_backup"),
]
# What a backup and a restore compare, and what a restore does for those whom the old store knows.
STORE_FIGURES = "events.verification.store_figures"
# In this order, because who was erased and came back to opt out is a contact of the old store.
RESTORE_STEPS = [
    "events.restores.erase_again",
    "crm.restores.keep_opt_outs",
    "automations.restores.pause_restored",
    "crm.jobs.stop_restored_jobs",
    "automations.webhooks.deliveries.hold_restored_deliveries",
]
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
    "public.crm_sharedkey": "true",
    "public.crm_subscriber": "email = 'ada@example.com'",
    "public.django_content_type": "true",
    "public.django_migrations": "true",
    "public.events_trackingkey": "true",
}
ROOT_URLCONF = "config.urls"
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
EMBEDDED_POSTGRES = chosen["DATABASE_URL"] is None
_database: dict[str, Any] = chosen["DATABASE_URL"] or django_database(DATA_DIR)
_database["CONN_MAX_AGE"] = None
# One statement instead of three for the choices of a form.
_database["DISABLE_SERVER_SIDE_CURSORS"] = True
_database.setdefault("OPTIONS", {})
_database["OPTIONS"] |= {
    "connect_timeout": 2,
    # A connection over TCP whose other end has vanished is closed after a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
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
    "config.login.StaffBackend",
]
SILENCED_SYSTEM_CHECKS = ["axes.W002"]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_RESET_ON_SUCCESS = True
# Attempts during the lock are not checked and do not prolong it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_CALLABLE = "config.login.attempted_username"
AXES_CLIENT_IP_CALLABLE = "config.addresses.client_address"
# Only failed attempts are stored, until the first login, failure or full hour ten minutes later.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
# Its log lines have the address without the name, because some type their password there.
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]

LOGIN_REDIRECT_URL = "admin:index"

USE_TZ = True
USE_I18N = False
LANGUAGE_CODE = "en-us"
STATIC_URL = f"{FORCE_SCRIPT_NAME}/static/"
# Static files are served from the packages that hold them, so collectstatic is not needed.
WHITENOISE_USE_FINDERS = True

CSRF_FAILURE_VIEW = "config.error_pages.csrf_failure"
# config/server/bodies.py rejects longer bodies, before Django reads them. A path here is the end of
# a URL's path without its trailing slash.
MAX_BODY_BYTES = 1024 * 1024
MAX_LARGE_BODY_BYTES = 5 * MAX_BODY_BYTES
LARGE_BODY_PATHS = ("/subscribers/track-events", "/subscribers/bulk-add-update")
GZIP_BODY_PATHS = ("/subscribers/track-events",)
DATA_UPLOAD_MAX_MEMORY_SIZE = None
# A body is in memory anyway, so that no upload needs the disk of temporary files.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
FILE_UPLOAD_MAX_MEMORY_SIZE = MAX_LARGE_BODY_BYTES
# The form of a contact has two fields for each of its 500 tags and 500 lists.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2500

# Names of its own, because another Django site of this host, on the path above or on another port,
# has cookies of Django's names, which browsers send too.
SESSION_COOKIE_NAME = "tallybook_sessionid"
CSRF_COOKIE_NAME = "tallybook_csrftoken"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{FORCE_SCRIPT_NAME}/"
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
    "EXCEPTION_HANDLER": "crm.refusals.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "FORMAT_SUFFIX_KWARG": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tallybook",
    "DESCRIPTION": "Counts and stores what contacts do: FluentCRM's REST API on PostgreSQL.",
    "VERSION": __version__,
    "SERVERS": [{"url": FORCE_SCRIPT_NAME}] if FORCE_SCRIPT_NAME else [],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "AutomationStatusEnum": "automations.models.AutomationStatus.choices",
        "CustomFieldTypeEnum": "crm.models.FieldType.values",
        "FunnelStatusEnum": "automations.funnels.rows.FUNNEL_STATUSES",
        "RunStatusEnum": "automations.models.RunStatus.choices",
        "StatusEnum": "crm.models.Status.choices",
    },
    "PREPROCESSING_HOOKS": ["config.api.schema.select_endpoints"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.api.schema.add_error_responses",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {request}{message}", "style": "{"}
    },
    "filters": {"request": {"()": "config.json_log.RequestIdFilter"}},
    "handlers": {
        "stderr": {
            "class": "config.log_writer.TextHandler",
            "formatter": "line",
            "filters": ["request"],
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "tallybook.audit": {"level": "INFO"},
        # Its WARNING lines repeat every 4xx response.
        "django.request": {"level": "ERROR"},
        # Hostile Host headers, foreign forms and too many fields. config.proxy logs some of them.
        "django.security": {"level": "CRITICAL"},
    },
}
