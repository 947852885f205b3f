"""Whether this process and its database are well, and where people start."""

from collections.abc import Callable
from functools import wraps

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from config.error_pages import json_error
from config.server.bootstrap import migrations_are_missing

View = Callable[[HttpRequest], HttpResponse]


def only_read(view: View) -> View:
    """A view for GET and HEAD; other methods are 405 in JSON."""

    @csrf_exempt
    @wraps(view)
    def checked(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return json_error(405, Allow="GET, HEAD")
        return view(request)

    return checked


@only_read
def home(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """People start in the admin."""
    return HttpResponseRedirect("/admin/")


@only_read
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """200 as long as the process answers; asks nobody."""
    return JsonResponse({"status": "ok"})


@only_read
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """200 when the database answers and has every migration, else 503 and why."""
    try:
        if not connection.is_usable():
            connection.close()
        missing = migrations_are_missing()
    except DatabaseError:
        return not_ready("database")
    return not_ready("migrations") if missing else JsonResponse({"status": "ok"})


def not_ready(what: str) -> HttpResponse:
    """503, naming what is missing."""
    body = {"status": "unavailable", "waiting_for": what}
    return JsonResponse(body, status=503, headers={"Retry-After": "1"})
