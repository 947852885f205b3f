"""config.server.work: how many requests of a class are answered at once, wait, or get 503."""

import threading
import time
from collections.abc import Callable

import pytest

from config.server import work
from config.server.work import QUEUE_SECONDS, STUCK_SECONDS, WATCH_SECONDS, WorkClass, class_of


class Request:
    """A request that is answered when it is let go."""

    def __init__(self, is_free: bool = False) -> None:
        self.submitted_at = 0.0
        self.begun, self.end = threading.Event(), threading.Event()
        self.is_gone = self.is_busy = self.is_watched = self.is_answered = False
        if is_free:
            self.end.set()

    def answer(self) -> None:
        self.begun.set()
        assert self.end.wait(10)
        self.is_answered = True

    def reject_busy(self) -> None:
        self.is_busy = True

    def watch(self) -> None:
        self.is_watched = True

    def is_given_up(self) -> bool:
        return self.is_gone


Run = Callable[[WorkClass, Request], threading.Thread]


@pytest.fixture
def run() -> Run:
    """Submit a request in a thread of its own, and wait until it runs."""

    def start(work_class: WorkClass, request: Request) -> threading.Thread:
        thread = threading.Thread(target=work_class.submit, args=(request,), daemon=True)
        thread.start()
        assert request.begun.wait(10)
        return thread

    return start


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/wp-json/fluent-crm/v2/subscribers/track-event", work.TRACKING),
        ("/subscribers/track-event", work.TRACKING),
        ("/event", work.TRACKING),
        ("/readyz", work.TRACKING),
        ("/healthz", work.TRACKING),
        ("/subscribers/track-events", work.MANY),
        ("POST /subscribers/1/merge", work.MANY),
        ("/wp-json/fluent-crm/v2/subscribers", work.API),
        ("/wp-json/fluent-crm/v2/subscribers?page=2&per_page=100", work.API),
        ("/wp-json/fluent-crm/v2/subscribers?with[]=tags&page=2", work.API),
        ("/wp-json/fluent-crm/v2/subscribers/1?with[]=filters", work.API),
        ("/subscribers?filter%5Ftype=advanced", work.MANY),
        ("/api/3/contacts?limit=20&offset=40", work.API),
        ("/api/3/contacts?email=ada%40example.com", work.API),
        ("/api/3/contacts?search=ada", work.MANY),
        ("/api/3/contacts?filters[created_after]=2026-01-01", work.MANY),
        ("/api/3/contacts/1/trackingLogs", work.API),
        ("POST /api/3/contact/sync", work.API),
        ("DELETE /api/3/tags/1", work.MANY),
        ("POST /activecampaign?api_action=contact_sync", work.API),
        ("/2/track/event", work.API),
        ("/subscribers?event_since=2026-01-01", work.MANY),
        ("/subscribers?segment=buyers", work.MANY),
        ("/subscribers?tags[]=1", work.MANY),
        ("POST /subscribers?double_optin=no", work.API),
        ("DELETE /wp-json/fluent-crm/v2/tags/1", work.MANY),
        ("/tags/1", work.API),
        ("/reports/ajax-options", work.MANY),
        ("/reports/options?fields=tags", work.MANY),
        ("/wp-json/fluent-crm/v2/reports/dashboard-stats", work.MANY),
        ("/reports/ping", work.API),
        ("/subscribers/prev-next-ids", work.MANY),
        ("/tags/do-bulk-action", work.MANY),
        ("/subscribers/1/notes?search=call", work.API),
        ("/users", work.API),
        ("/wp-json/fluent-crm/v2/subscribers?filter_type=advanced", work.MANY),
        ("/subscribers?page=1&advanced_filters=[]", work.MANY),
        ("/subscribers?search=ada", work.MANY),
        ("HEAD /subscribers?search=ada", work.MANY),
        ("/webhooks", work.MANY),
        ("/fluentcrm?hash=x", work.API),
        ("/subscribers/search-contacts", work.MANY),
        ("/subscribers/1/segments", work.MANY),
        ("/segments/5", work.MANY),
        ("/automations/5/report", work.MANY),
        ("/funnels", work.MANY),
        ("/subscribers/bulk-add-update", work.MANY),
        ("/subscribers/do-bulk-action", work.MANY),
        ("/tags/bulk", work.MANY),
        ("/admin/crm/segment/count", work.MANY),
        ("/admin/crm/subscriber/duplicates", work.MANY),
        ("POST /admin/crm/subscriber/1/merge", work.ACTIONS),
        ("/admin/crm/subscriber", work.PEOPLE),
        ("POST /admin/crm/subscriber", work.ACTIONS),
        ("POST /admin/crm/subscriber/1/change", work.PEOPLE),
        ("POST /admin/login", work.PEOPLE),
        ("/wp-json/fluent-crm/v2/subscribers/1/tracking-events", work.API),
        ("/admin/login", work.PEOPLE),
        ("/static/admin/css/base.css", work.PEOPLE),
        ("/static/crm/segments.js", work.PEOPLE),
        ("/admin/crm/segment", work.PEOPLE),
        ("/admin/crm/subscriber/1/export", work.ACTIONS),
        ("POST /admin/crm/subscriber/1/erase", work.ACTIONS),
        ("/admin/event", work.PEOPLE),
        ("/api/schema", work.PEOPLE),
        ("", work.PEOPLE),
    ],
)
def test_each_url_has_its_class_of_work(url: str, expected: WorkClass) -> None:
    method, _, target = url.rpartition(" ")
    path, _, query = target.partition("?")
    assert class_of(method or "GET", path, query) is expected


def test_a_request_is_answered_in_the_thread_that_read_it() -> None:
    request = Request(is_free=True)
    WorkClass("api", 1, 1).submit(request)
    assert request.is_answered


def test_a_request_that_finds_no_place_waits_and_is_answered_by_the_thread_before(run: Run) -> None:
    work_class = WorkClass("api", 1, 1)
    first, second = Request(), Request(is_free=True)
    thread = run(work_class, first)
    work_class.submit(second)
    assert not second.begun.is_set()
    first.end.set()
    thread.join(10)
    assert second.is_answered


def test_requests_are_answered_in_the_order_in_which_they_came(run: Run) -> None:
    work_class, order = WorkClass("api", 1, 3), []

    class Ordered(Request):
        def answer(self) -> None:
            order.append(self)

    first, waiting = Request(), [Ordered() for _ in range(3)]
    thread = run(work_class, first)
    for request in waiting:
        work_class.submit(request)
    first.end.set()
    thread.join(10)
    assert order == waiting


def test_a_request_beyond_the_queue_is_rejected_at_once(run: Run) -> None:
    work_class = WorkClass("api", 1, 1)
    first, second, third = Request(), Request(is_free=True), Request()
    run(work_class, first)
    work_class.submit(second)
    work_class.submit(third)
    assert third.is_busy
    assert not second.is_busy
    first.end.set()


def test_a_place_is_free_again_after_each_answer() -> None:
    work_class = WorkClass("api", 1, 0)
    for _ in range(3):
        request = Request(is_free=True)
        work_class.submit(request)
        assert request.is_answered


def test_a_place_is_free_again_after_an_answer_that_raises() -> None:
    class Failing(Request):
        def answer(self) -> None:
            raise MemoryError

    work_class, request = WorkClass("api", 1, 0), Request(is_free=True)
    work_class.submit(Failing())
    work_class.submit(request)
    assert request.is_answered


def test_a_full_class_takes_no_place_of_another(run: Run) -> None:
    full, other = WorkClass("api", 1, 0), WorkClass("api", 1, 0)
    first, second = Request(), Request(is_free=True)
    run(full, first)
    other.submit(second)
    assert second.is_answered
    first.end.set()


def test_a_request_that_waits_too_long_is_rejected_once(run: Run) -> None:
    work_class = WorkClass("api", 1, 1)
    first, late = Request(), Request()
    thread = run(work_class, first)
    work_class.submit(late)
    work_class.tend(time.monotonic() + QUEUE_SECONDS - 1)
    assert not late.is_busy
    work_class.tend(time.monotonic() + QUEUE_SECONDS + 1)
    assert late.is_busy
    first.end.set()
    thread.join(10)
    assert not late.begun.is_set()


def test_a_request_whose_client_went_away_while_it_waited_is_not_answered(run: Run) -> None:
    work_class = WorkClass("api", 1, 1)
    first, gone = Request(), Request()
    thread = run(work_class, first)
    work_class.submit(gone)
    gone.is_gone = True
    first.end.set()
    thread.join(10)
    assert not gone.begun.is_set()


def test_the_clients_of_slow_requests_are_watched(run: Run) -> None:
    work_class = WorkClass("api", 1, 1)
    running, waiting = Request(), Request(is_free=True)
    run(work_class, running)
    work_class.submit(waiting)
    work_class.tend(time.monotonic())
    assert not running.is_watched
    assert not waiting.is_watched
    work_class.tend(time.monotonic() + WATCH_SECONDS + 0.1)
    assert running.is_watched
    assert waiting.is_watched
    running.end.set()


@pytest.mark.parametrize(
    ("size", "seconds", "is_stuck"),
    [(1, STUCK_SECONDS + 1, True), (2, STUCK_SECONDS + 1, False), (1, STUCK_SECONDS - 1, False)],
    ids=["all stuck", "one is free", "one has begun lately"],
)
def test_a_class_is_stuck_when_no_request_has_ended_for_long(
    run: Run, size: int, seconds: float, is_stuck: bool
) -> None:
    work_class, request = WorkClass("api", size, 1), Request()
    run(work_class, request)
    assert work_class.is_stuck(time.monotonic() + seconds) == is_stuck
    request.end.set()


def test_a_class_stays_stuck_while_more_requests_come(run: Run) -> None:
    work_class, request = WorkClass("api", 1, 1), Request()
    run(work_class, request)
    work_class._changed_at -= STUCK_SECONDS + 1
    work_class.submit(Request(is_free=True))
    assert work_class.is_stuck(time.monotonic())
    request.end.set()


def test_the_first_request_after_an_idle_time_has_its_time(run: Run) -> None:
    work_class, request = WorkClass("api", 1, 1), Request()
    work_class._changed_at -= STUCK_SECONDS + 1
    run(work_class, request)
    assert not work_class.is_stuck(time.monotonic())
    request.end.set()


def test_an_idle_class_is_not_stuck() -> None:
    assert not WorkClass("api", 1, 1).is_stuck(time.monotonic() + STUCK_SECONDS + 1)
