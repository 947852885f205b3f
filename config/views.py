"""Whether this process and its database are well."""

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """200 as long as the process answers; asks nobody."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """200 when the database answers and has every migration, else 503 and why."""
    try:
        if not connection.is_usable():
            connection.close()
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return not_ready("database")
    return not_ready("migrations") if missing else JsonResponse({"status": "ok"})


def not_ready(what: str) -> JsonResponse:
    """503, naming what is missing."""
    body = {"status": "unavailable", "waiting_for": what}
    return JsonResponse(body, status=503, headers={"Retry-After": "1"})
