"""List what answers each of FluentCRM's routes, from the URL configuration.

`python -m tools.routes` writes the table of docs/reference/fluentcrm-routes.md.
"""

import os
import re
from collections import defaultdict
from itertools import groupby
from pathlib import Path

import django
from django.urls import Resolver404, resolve

ROOT = Path(__file__).resolve().parent.parent
ROUTES = ROOT / "tests/conformance/routes.txt"
PAGE = ROOT / "docs/reference/fluentcrm-routes.md"
HEADER = "| route | response |\n| --- | --- |\n"
NOT_THERE = "not there"


def fluentcrm_routes() -> list[tuple[str, list[str]]]:
    """Return FluentCRM's paths with their methods."""
    lines = [line for line in ROUTES.read_text().splitlines() if not line.startswith("#")]
    return [(path, methods) for path, *methods in map(str.split, lines)]


def answer(path: str, method: str) -> str:
    """Return what answers a method of a path: there, empty, 404, 422, or not there."""
    from crm.api.absent import ROUTES as ABSENT
    from crm.api.views.absent import AbsentViewSet

    try:
        match = resolve("/" + re.sub("{[a-z_]+}", "1", path))
    except Resolver404:
        return NOT_THERE
    view = match.func
    if method.lower() not in getattr(view, "actions", {}):
        return NOT_THERE
    if getattr(view, "cls", None) is not AbsentViewSet:
        return "there"
    if method != "GET":
        return "422"
    return "404" if isinstance(ABSENT[path].nothing, str) else "empty"


def row(path: str, methods: list[str]) -> str:
    """Return the row of a path."""
    by_answer = defaultdict(list)
    for method in methods:
        by_answer[answer(path, method)].append(method)
    cells = [f"{', '.join(group)}: {each}" for each, group in by_answer.items()]
    return f"| `/{path}` | {'. '.join(cells)} |\n"


def section(path: str) -> str:
    """Return the first part of a path."""
    return path.partition("/")[0]


def tables() -> str:
    """Return a table for each first part of the paths."""
    groups = groupby(fluentcrm_routes(), key=lambda route: section(route[0]))
    return "\n".join(
        f"### {name}\n\n{HEADER}{''.join(row(*route) for route in routes)}"
        for name, routes in groups
    )


def main() -> None:
    """Write the tables into the page, below its second heading."""
    before, heading, _ = PAGE.read_text().partition("## Routes\n")
    PAGE.write_text(f"{before}{heading}\n{tables()}")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    main()
