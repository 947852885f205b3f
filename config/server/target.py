"""Tell what a request is about, in each way in which WordPress lets a client say so.

WordPress accepts runs of slashes, the path in `?rest_route=`, and a method in place of POST
(rest_api_loaded in wp-includes/rest-api.php, serve_request in class-wp-rest-server.php).
"""

import re
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from django.conf import settings

from config.server.work import PAGE_PATHS, is_page

WP_JSON = "/wp-json"
# Where WordPress reads rest_route. The first is TALLYBOOK_URL_PREFIX alone. The last has URLs
# of FluentCRM's incoming webhooks, which it reads at any path.
ROUTED_PATHS = ("", "/", "/index.php", "/wp-admin/")
# Permalinks of a WordPress whose web server cannot rewrite paths.
INDEXED = "/index.php/wp-json"
# ActiveCampaign's old door (API version 1), and its path here, because /admin has the pages.
OLD_DOOR, OLD_DOOR_PATH = "/admin/api.php", "/activecampaign"
# FluentCRM's URL of incoming webhooks: `?fluentcrm=1` (ExternalPages.php, route).
FLUENTCRM = re.compile("(^|&)fluentcrm(=|&|$)")
# Names of events are in paths, and may have runs of slashes.
NAMES = "/eventTrackingEvent"
SLASHES = re.compile("//+")
# The key of a WSGI environ for the method that was sent, where it stands for another.
SENT_METHOD = "tallybook.sent_method"


class Target(NamedTuple):
    """What a request is about."""

    method: str
    # Of the URL, decoded and without TALLYBOOK_URL_PREFIX.
    path: str
    # Of the URL, as sent.
    query: str


def target_of(scope: Any) -> Target:
    """Return what a request is about.

    Only POST may stand for another method, because a link is a GET and has to change nothing.
    Pages of the admin are at their own paths alone, because a proxy may protect these.

    Args:
        scope: RSGI's, with its method, path, query string and headers.
    """
    method, query = scope.method, scope.query_string
    path = without_prefix(scope.path)
    if "//" in path:
        cleaned = without_prefix(_single_slashes(path))
        if cleaned.rstrip("/") == OLD_DOOR or not cleaned.startswith(PAGE_PATHS):
            path = cleaned
    if path.rstrip("/") == OLD_DOOR:
        path = OLD_DOOR_PATH
    if path.startswith(INDEXED):
        path = path.removeprefix("/index.php")
    if query and path in ROUTED_PATHS:
        route, others = _take(query, "rest_route")
        if route:
            path, query = _single_slashes(f"{WP_JSON}/{route}"), others
        elif FLUENTCRM.search(query):
            path = "/fluentcrm"
    if method == "POST":
        overriding, others = scope.headers.get("x-http-method-override"), query
        if "_method=" in query:
            chosen, others = _take(query, "_method")
            overriding = chosen or overriding
        if overriding and not is_page(path):
            method, query = overriding.upper(), others
    return Target(method, path, query)


def without_prefix(path: str) -> str:
    """Return a path without TALLYBOOK_URL_PREFIX, which the proxy may or may not have removed."""
    prefix = settings.FORCE_SCRIPT_NAME
    return path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path


def _single_slashes(path: str) -> str:
    """Return a path with each run of slashes as one, except in the name of an event."""
    before, names, name = path.partition(NAMES)
    return SLASHES.sub("/", before) + names + name


def _take(query: str, name: str) -> tuple[str, str]:
    """Return the last value of a parameter, or "", and the query without the parameter."""
    value, others = "", []
    for pair in query.split("&"):
        found, _, text = pair.partition("=")
        if found == name:
            value = unquote_plus(text)
        else:
            others.append(pair)
    return value, "&".join(others)
