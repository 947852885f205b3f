"""Report the health of this process and of its database, and lead to the admin."""

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

from config.api.errors import RETRY_AFTER_SECONDS
from config.database import drop_closed_connection, migrations_are_missing
from config.error_pages import json_error
from config.server import daily_backup

View = Callable[[HttpRequest], HttpResponse]


def require_safe(view: View) -> View:
    """Allow GET and HEAD only, as Django's require_safe, whose 405 has no JSON body."""

    @csrf_exempt
    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return json_error(405, Allow="GET, HEAD")
        return view(request)

    return checked


@require_safe
def home(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Redirect to the admin."""
    return HttpResponseRedirect(reverse("admin:index"))


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer 200 as long as the process answers, without the database."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer 200 if the database answers and has every migration, else 503 with the reason.

    It says so as long as the first login was never used, because its passwords may be lost, while
    automations fall behind, and while the daily backup is late.
    """
    try:
        drop_closed_connection()
        if migrations_are_missing():
            return _not_ready("migrations")
        is_unused = import_string(settings.FIRST_LOGIN_IS_UNUSED)()
        # This process serves requests as before, so that it stays in rotation.
        lateness = import_string(settings.AUTOMATIONS_LATENESS)()
        late_backup = daily_backup.lateness()
    except DatabaseError:
        return _not_ready("database")
    notes = {
        "first_login": "unused" if is_unused else "",
        "automations": lateness,
        "backup": late_backup,
    }
    body: dict[str, str | int] = {"status": "ok"}
    body |= {name: note for name, note in notes.items() if note}
    if newest := daily_backup.newest_backup():
        body["backup_age_seconds"] = int((timezone.now() - newest).total_seconds())
    return JsonResponse(body)


def _not_ready(waiting_for: str) -> HttpResponse:
    body = {"status": "unavailable", "waiting_for": waiting_for}
    return JsonResponse(body, status=503, headers={"Retry-After": RETRY_AFTER_SECONDS})
