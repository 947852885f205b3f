"""Jobs: claimed by one process, done in steps, resumed after a stop, a failure and a kill."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, connections
from django.utils import timezone
from pytest_django import Settings

from crm import jobs
from crm.jobs import JobError, JobKind, Progress, Run, Stopped, claim_job, create_job, run_claimed
from crm.models import Job, JobState, Tag
from events.models import TrackingKey
from tests.system.server import wait_until
from transfers.exports import ExportOptions, create_export

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = 3


def make_tag(progress: Progress) -> Progress:
    """Make a tag that is called as the number of the step."""
    number = progress.done + 1
    Tag.objects.create(title=f"step {number}", slug=f"step-{number}")
    return Progress(number, STEPS, {"after": number}, {"created": number})


def make_tags(run: Run) -> None:
    while run.progress.done < STEPS:
        run.step(make_tag)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Run], None]], Job]:
    """Register a kind of jobs by its function, and return a job of it that waits."""

    def make(work: Callable[[Run], None]) -> Job:
        kind = JobKind(work, ("crm.add_tag",))
        monkeypatch.setitem(jobs._kinds, "test", kind)
        return create_job("test", "A test", {})

    return make


def claimed() -> Run:
    run = claim_job()
    assert run
    return run


def run_next() -> None:
    run_claimed(claimed())


def expire() -> None:
    """Let the lease of all jobs end, as if their process had died ten seconds ago."""
    Job.objects.update(lease_until=timezone.now())


def is_renewed(job: Job) -> bool:
    job.refresh_from_db()
    return bool(job.lease_until and job.lease_until > timezone.now())


def test_a_job_does_its_steps_and_is_done(register: Callable[..., Job]) -> None:
    job = register(make_tags)
    run_next()
    job.refresh_from_db()
    assert (job.state, job.done, job.total) == (JobState.DONE, 3, 3)
    assert (job.position, job.counts) == ({"after": 3}, {"created": 3})
    assert Tag.objects.count() == STEPS


def test_a_step_that_fails_leaves_nothing_and_the_job_goes_on_there(
    register: Callable[..., Job],
) -> None:
    is_broken = True

    def fail_in_the_second(progress: Progress) -> Progress:
        made = make_tag(progress)
        if is_broken and made.done == 2:
            raise JobError("The second step is broken.")
        return made

    def work(run: Run) -> None:
        while run.progress.done < STEPS:
            run.step(fail_in_the_second)

    job = register(work)
    run_next()
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.FAILED, "The second step is broken.")
    assert Tag.objects.count() == 1
    is_broken = False
    assert jobs.resume(job.pk)
    run_next()
    job.refresh_from_db()
    assert (job.state, job.error, Tag.objects.count()) == (JobState.DONE, "", STEPS)


def test_a_store_that_was_never_served_is_exported(settings: Settings, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"
    assert not TrackingKey.objects.exists()
    job = create_export(ExportOptions("events", "ndjson"), created_by=None)
    run_next()
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.DONE, "")


def test_an_error_of_the_program_is_reported_without_its_text(register: Callable[..., Job]) -> None:
    def work(_: Run) -> None:
        raise ValueError("secret")

    job = register(work)
    run_next()
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "secret" not in job.error


def test_a_full_disk_is_reported(register: Callable[..., Job]) -> None:
    def work(_: Run) -> None:
        raise OSError(28, "No space left on device")

    job = register(work)
    run_next()
    job.refresh_from_db()
    assert job.error == "The files of the job cannot be used: No space left on device."


def test_a_process_that_lost_its_job_writes_nothing_more(register: Callable[..., Job]) -> None:
    job = register(make_tags)
    first = claimed()
    first.step(make_tag)
    expire()
    second = claimed()
    with pytest.raises(jobs.ClaimLost):
        first.step(make_tag)
    run_claimed(second)
    job.refresh_from_db()
    assert (job.state, job.done, Tag.objects.count()) == (JobState.DONE, 3, STEPS)


def test_a_job_whose_lease_runs_is_not_claimed_again(register: Callable[..., Job]) -> None:
    register(make_tags)
    claimed()
    assert claim_job() is None


def test_the_lease_is_renewed_during_a_long_step(
    register: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 0.02)
    job = register(make_tags)
    run = claimed()
    expire()

    with run.lease():
        wait_until(lambda: is_renewed(job))


def test_the_renewal_of_a_lease_keeps_the_position_of_a_resumed_job(
    register: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 0.02)
    job = register(make_tags)
    claimed().step(make_tag)
    expire()
    run = claimed()
    run.step(make_tag)
    expire()

    with run.lease():
        wait_until(lambda: is_renewed(job))
    assert job.done == 2


def test_one_of_several_processes_gets_a_job(register: Callable[..., Job]) -> None:
    register(make_tags)

    def claim(_: int) -> Run | None:
        try:
            return claim_job()
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(run is not None for run in threads.map(claim, range(8))) == 1


def test_a_job_stops_after_its_step_and_goes_on(register: Callable[..., Job]) -> None:
    job = register(make_tags)
    run = claimed()
    jobs.request_stop(job.pk)
    run_claimed(run)
    job.refresh_from_db()
    assert (job.state, job.done, job.stop_requested) == (JobState.STOPPED, 1, False)
    assert jobs.resume(job.pk)
    run_next()
    job.refresh_from_db()
    assert (job.state, Tag.objects.count()) == (JobState.DONE, STEPS)


def test_a_job_that_waits_is_stopped_at_once(register: Callable[..., Job]) -> None:
    job = register(make_tags)
    jobs.request_stop(job.pk)
    assert claim_job() is None
    job.refresh_from_db()
    assert job.state == JobState.STOPPED


def test_a_process_that_ends_leaves_its_job_to_the_next(register: Callable[..., Job]) -> None:
    job = register(make_tags)
    run = claimed()
    run.leave()
    with pytest.raises(Stopped):
        run_claimed(run)
    run_next()
    job.refresh_from_db()
    assert (job.state, job.claim) == (JobState.DONE, 2)


def test_a_job_of_a_user_who_lost_the_permission_fails(register: Callable[..., Job]) -> None:
    user = User.objects.create_user("mia")
    user.user_permissions.add(Permission.objects.get(codename="add_tag"))
    job = register(make_tags)
    Job.objects.filter(pk=job.pk).update(created_by=user)
    user.user_permissions.clear()
    run_next()
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.FAILED, "mia may not do this any more.")
    assert not Tag.objects.exists()


def test_a_job_of_a_user_who_is_deleted_stops(register: Callable[..., Job]) -> None:
    user = User.objects.create_user("mia")
    job = register(make_tags)
    Job.objects.filter(pk=job.pk).update(created_by=user)
    user.delete()
    assert claim_job() is None
    job.refresh_from_db()
    assert (job.state, job.created_by) == (JobState.STOPPED, None)


def test_a_process_that_is_frozen_in_a_step_holds_no_locks_for_long(
    register: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_IDLE_SECONDS", 1)
    job = register(make_tags)
    first = claimed()

    def run_successor() -> None:
        try:
            expire()
            run_next()
        finally:
            connections.close_all()

    def freeze(progress: Progress) -> Progress:
        made = make_tag(progress)
        with ThreadPoolExecutor(1) as threads:
            # It waits for the tag, whose slug is unique.
            threads.submit(run_successor).result(30)
        return made

    with pytest.raises(jobs.ClaimLost):
        first.step(freeze)
    job.refresh_from_db()
    assert (job.state, job.done, Tag.objects.count()) == (JobState.DONE, 3, STEPS)
