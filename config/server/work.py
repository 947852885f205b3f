"""Bound each class of work, so that none of them takes the processor or the threads of another.

Tracking and health checks come first. docs/decisions/classes-of-work.md has the reasons.
"""

import logging
import re
import threading
import time
from collections import deque
from typing import Protocol
from urllib.parse import parse_qsl

from config.server.queue import Queue

logger = logging.getLogger(__name__)

FLUENTCRM = "/wp-json/fluent-crm/v2"
TRACK = "/subscribers/track-event"
HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")
TRACKING_PATHS = {TRACK, FLUENTCRM + TRACK, "/event", *HEALTH_PATHS}
PAGE_PATHS = ("/admin", "/api/docs", "/api/schema", "/static")
PEOPLE_PATHS = (*PAGE_PATHS, "/wp-admin/")
# The admin's actions on selected rows, exports among them, are sent to /admin/crm/subscriber.
ACTION_CALL = re.compile(
    r"POST /admin/\w+/\w+(/\d+/(erase|delete|merge))?|\w+ /admin/\w+/\w+/\d+/export"
)
# Calls about many contacts, whose time grows with the store or with the call.
MANY_CALL = re.compile(
    r"\w+ .*(/segments|/automations|/funnels|bulk|search|webhooks|/track-events"
    r"|/subscribers-property|/prev-next-ids|/ajax-options|/reports/options|/dashboard-stats|/merge).*"
    r"|DELETE .*/(tags|lists)/.*"
)
MANY_PAGES = ("/admin/crm/segment/count", "/admin/crm/subscriber/duplicates")
# Other parameters of the list of contacts filter, search or sort all of them.
PAGE_PARAMETERS = {"page", "per_page", "with", "custom_fields", "limit", "offset", "email"}
CONTACT_LISTS = ("/subscribers", "/api/3/contacts")
# A request that has waited this long is answered with 503, because its client has given up.
QUEUE_SECONDS = 5.0
# Only requests that take this long are watched, because watching has its price.
WATCH_SECONDS = 0.5
# Requests that use no processor end before, because each statement does.
STUCK_SECONDS = 60.0


class Request(Protocol):
    """What a class of work needs of a request."""

    submitted_at: float

    def answer(self) -> None:
        """Send the response. Raises nothing."""

    def reject_busy(self) -> None:
        """Send 503."""

    def watch(self) -> None:
        """Notice from now on if the client goes away."""

    def is_given_up(self) -> bool:
        """Return whether the client has gone away."""


class WorkClass:
    """A class of work: how many of its requests are answered at once, and how many may wait.

    With a `handover`, they are answered by other processes.
    """

    handover: Queue | None = None

    def __init__(self, name: str, size: int, queue: int) -> None:
        self.name, self.size, self.queue = name, size, queue
        self._lock = threading.Lock()
        self._waiting: deque[Request] = deque()
        # In the order in which they began.
        self._answering: dict[Request, None] = {}
        self._changed_at = time.monotonic()

    def submit(self, request: Request) -> None:
        """Answer a request in this thread, or leave it to a thread that ends another one.

        A request is answered with 503 if `queue` others wait.
        """
        request.submitted_at = time.monotonic()
        with self._lock:
            is_free = len(self._answering) < self.size
            is_full = not is_free and len(self._waiting) >= self.queue
            if is_free:
                self._answering[request] = None
                self._changed_at = request.submitted_at
            elif not is_full:
                self._waiting.append(request)
        if is_full:
            request.reject_busy()
        if not is_free:
            return
        following: Request | None = request
        while following is not None:
            try:
                if not following.is_given_up():
                    following.answer()
            except BaseException:
                # Without this, its place would stay occupied.
                logger.exception("A request failed without a response.")
            following = self._next(following)

    def _next(self, answered: Request) -> Request | None:
        self._changed_at = time.monotonic()
        with self._lock:
            del self._answering[answered]
            if not self._waiting:
                return None
            following = self._waiting.popleft()
            self._answering[following] = None
            return following

    def tend(self, now: float) -> None:
        """Watch the clients of slow requests, and answer with 503 what has waited too long.

        Args:
            now: in seconds of time.monotonic().
        """
        with self._lock:
            late = []
            while self._waiting and now > self._waiting[0].submitted_at + QUEUE_SECONDS:
                late.append(self._waiting.popleft())
            slow = [
                request
                for request in (*self._answering, *self._waiting)
                if now > request.submitted_at + WATCH_SECONDS
            ]
        for request in late:
            request.reject_busy()
        for request in slow:
            request.watch()

    def load(self) -> tuple[int, int]:
        """Return how many requests wait, and how many are being answered."""
        return len(self._waiting), len(self._answering)

    def is_stuck(self, now: float) -> bool:
        """Return whether all its threads are in requests, none of which has ended for long."""
        return len(self._answering) >= self.size and now > self._changed_at + STUCK_SECONDS


TRACKING = WorkClass("tracking", size=16, queue=256)
API = WorkClass("api", size=2, queue=32)
PEOPLE = WorkClass("people", size=3, queue=32)
MANY = WorkClass("many", size=1, queue=32)
ACTIONS = WorkClass("actions", size=2, queue=32)
CLASSES = (TRACKING, API, PEOPLE, MANY, ACTIONS)
# One more reads requests and bodies while all others answer.
THREADS = sum(work_class.size for work_class in CLASSES) + 1


def is_page(path: str) -> bool:
    """Return whether a path belongs to people or to the health checks, and not to the API."""
    return path in ("/", *HEALTH_PATHS) or path.startswith(PEOPLE_PATHS)


def class_of(method: str, path: str, query: str) -> WorkClass:
    """Return the class of work of a request.

    Args:
        method: HTTP's.
        path: of its URL, without a slash at the end.
        query: of its URL.
    """
    if path in TRACKING_PATHS:
        return TRACKING
    call = f"{method} {path}"
    if ACTION_CALL.fullmatch(call):
        return ACTIONS
    if path in MANY_PAGES:
        return MANY
    if path.startswith(PEOPLE_PATHS) or not path:
        return PEOPLE
    names = {name.partition("[")[0] for name, _ in parse_qsl(query, keep_blank_values=True)}
    is_read = method in ("GET", "HEAD")
    if path.endswith(CONTACT_LISTS) and is_read and not names <= PAGE_PARAMETERS:
        return MANY
    return MANY if MANY_CALL.fullmatch(call) else API
