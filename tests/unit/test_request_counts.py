"""config.server.metrics: the tables of the workers' counts, in memory that processes share."""

import os
from collections.abc import Callable
from functools import partial

import pytest

from config.server.metrics import BUCKETS, GONE, Metrics, cumulated


@pytest.fixture
def metrics() -> Metrics:
    """The tables of two workers."""
    return Metrics(2)


def in_worker(metrics: Metrics, work: Callable[[], object]) -> None:
    """Do `work` in a worker that is forked for it, and that ends."""
    metrics.choose_table()
    pid = os.fork()
    if not pid:
        metrics.own_table()
        work()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def count_hundred(metrics: Metrics) -> None:
    for _ in range(100):
        metrics.count("api", 200, 0.001)


def test_requests_are_counted_by_class_and_status(metrics: Metrics) -> None:
    for name, status in (("tracking", 200), ("tracking", 200), ("tracking", 422), ("api", 200)):
        metrics.count(name, status, 0.001)
    assert metrics.figures("tracking").by_status == {200: 2, 422: 1}
    assert metrics.figures("api").by_status == {200: 1}


def test_a_request_whose_client_went_away_has_a_status_of_its_own(metrics: Metrics) -> None:
    metrics.count("api", GONE, 1.0)
    assert metrics.figures("api").by_status == {499: 1}


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.005, 0), (0.006, 1), (61.0, 12)])
def test_a_request_is_in_the_bucket_whose_bound_it_does_not_exceed(
    metrics: Metrics, seconds: float, bucket: int
) -> None:
    metrics.count("api", 200, seconds)
    figures = metrics.figures("api")
    assert [i for i, number in enumerate(figures.by_bucket) if number] == [bucket]
    assert figures.seconds == seconds


def test_each_bucket_of_prometheus_has_those_below() -> None:
    numbers = [1, 2] + [0] * (len(BUCKETS) - 2) + [4]
    assert cumulated(numbers)[:2] == [("0.005", 1), ("0.01", 3)]
    assert cumulated(numbers)[-1] == ("+Inf", 7)


def test_the_counts_of_a_worker_that_has_ended_stay(metrics: Metrics) -> None:
    in_worker(metrics, lambda: metrics.count("api", 200, 0.001))
    assert metrics.figures("api").by_status == {200: 1}


def test_the_counts_of_more_workers_than_tables_add_up(metrics: Metrics) -> None:
    for _ in range(5):
        in_worker(metrics, lambda: metrics.count("api", 200, 0.001))
    assert metrics.figures("api").by_status == {200: 5}


def test_workers_that_live_at_the_same_time_write_into_tables_of_their_own(
    metrics: Metrics,
) -> None:
    metrics.choose_table()
    metrics.own_table()
    in_worker(metrics, partial(count_hundred, metrics))
    # The child has chosen the other table, also in this process, as in the parent of all workers.
    metrics.count("api", 200, 0.001)
    assert metrics.figures("api").by_status == {200: 101}
    assert metrics.workers() == 1


def test_what_waits_in_a_worker_that_has_died_is_not_counted(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.server.work.API.load", lambda: (3, 2))
    in_worker(metrics, metrics.observe)
    figures = metrics.figures("api")
    assert (figures.waiting, figures.answering) == (0, 0)


def test_what_waits_and_is_answered_in_a_living_worker_is_counted(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.server.work.API.load", lambda: (3, 2))
    metrics.choose_table()
    metrics.own_table()
    metrics.observe()
    figures = metrics.figures("api")
    assert (figures.waiting, figures.answering) == (3, 2)
