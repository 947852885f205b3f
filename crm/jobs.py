"""Run work that takes longer than a request: claimed by one process, done in steps, resumed.

A step commits its effects together with the job's progress. So a job whose process was killed goes
on after its last step, and no step is done twice. docs/decisions/jobs.md tells why.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.contrib.auth.models import User
from django.db import InterfaceError, InternalError, OperationalError, connections
from django.utils import timezone
from psycopg.errors import IdleInTransactionSessionTimeout

from config.audit import record_job
from config.database import fetch_one, fetch_row, fetch_rows, in_transaction
from crm.models import BulkChange, Job, JobState
from crm.models.outbox import QUIET

logger = logging.getLogger(__name__)

# A job whose process has not renewed its lease for so long is claimed by another process.
LEASE_SECONDS = 10
RENEW_SECONDS = 2.0
# PostgreSQL ends the transaction of a step that does nothing for so long, because a process that is
# frozen in it would hold locks that its successor and others wait for.
MAX_IDLE_SECONDS = 60
# How long the files of a job that has ended are kept. They hold e-mails of contacts.
KEEP_FILES = timedelta(days=7)
# How long a change of several contacts can be undone.
KEEP_UNDO = timedelta(days=30)
# How long an upload waits for its admin user, and a folder for the row of its job.
KEEP_DRAFTS = timedelta(days=1)
# The parameter of a job whose user has chosen that automations start by what it writes.
START_AUTOMATIONS = "start_automations"
# The folder of those files that an admin user may download, in the folder of the job.
RESULTS = "results"

CLAIM = """
UPDATE crm_job SET state = 'running', claim = claim + 1,
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = (
    SELECT id FROM crm_job
    WHERE (state = 'waiting' OR (state = 'running' AND lease_until < clock_timestamp()))
        AND (%(job)s::bigint IS NULL OR id = %(job)s)
    ORDER BY id LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING id
"""
# `done` and `total` are null where only the lease is renewed.
RENEW = """
UPDATE crm_job
SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    done = COALESCE(%(done)s::bigint, done), total = COALESCE(%(total)s::bigint, total)
WHERE id = %(job)s AND claim = %(claim)s AND state = 'running'
RETURNING stop_requested
"""
SAVE = """
UPDATE crm_job
SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    done = %(done)s, total = %(total)s, position = %(position)s::jsonb, counts = %(counts)s::jsonb
WHERE id = %(job)s AND claim = %(claim)s AND state = 'running'
RETURNING stop_requested
"""
# What a job writes starts no automation, unless its user has chosen so.
BEGIN_STEP = f"""
SELECT set_config('idle_in_transaction_session_timeout', %(idle)s, true),
       set_config('{QUIET}', %(quiet)s, true)
"""
HOLD = """
SELECT id FROM crm_job WHERE id = %(job)s AND claim = %(claim)s AND state = 'running'
FOR NO KEY UPDATE
"""
END = """
UPDATE crm_job
SET state = %(state)s, error = %(error)s, ended_at = %(now)s, stop_requested = false
WHERE id = %(job)s AND claim = %(claim)s AND state = 'running'
RETURNING id
"""
# Another process goes on at once.
RELEASE = """
UPDATE crm_job SET lease_until = clock_timestamp()
WHERE id = %(job)s AND claim = %(claim)s AND state = 'running'
RETURNING id
"""


class JobError(Exception):
    """A job cannot go on. The message says what an admin user can do."""


class Stopped(Exception):
    """A stop of the job was requested. Its committed steps stay, and it can be continued."""


class ClaimLost(Exception):
    """Another process runs the job now."""


class Progress(NamedTuple):
    """How far a job is: items done and in total, where to go on, and numbers to report."""

    done: int
    total: int | None
    position: Mapping[str, Any]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class JobKind:
    """A kind of jobs.

    Attributes:
        run: does the work by steps of the Run, from its progress on.
        permissions: what an admin user needs to start such a job, and to see it and its files.
        page: the name of the URL where an admin user chooses what the job does, with its id. It can
            be started again there after a dry run, a stop or a failure.
    """

    run: "Callable[[Run], None]"
    permissions: tuple[str, ...]
    page: str = ""


_kinds: dict[str, JobKind] = {}


def register_kind(name: str, kind: JobKind) -> None:
    """Register a kind of jobs by its name, which rows of crm_job keep."""
    _kinds[name] = kind


def kinds_of(has_perms: Callable[[tuple[str, ...]], bool]) -> list[str]:
    """Return the names of the kinds that a user with `has_perms` may start and see."""
    return [name for name, kind in _kinds.items() if has_perms(kind.permissions)]


def page_of(job: Job) -> str:
    """Return the name of the URL where the job is chosen and started, or ""."""
    kind = _kinds.get(job.kind)
    is_done = job.state == JobState.DONE and not job.parameters.get("dry_run")
    may_start = job.state not in (JobState.WAITING, JobState.RUNNING) and not is_done
    return kind.page if kind and may_start else ""


class Run:
    """A job that this process has claimed."""

    def __init__(self, job: Job) -> None:
        """Begin where the job's last step ended."""
        self.job = job
        self.progress = Progress(job.done, job.total, job.position, job.counts)
        # Is called with the items done and in total after each step.
        self.report: Callable[[int, int | None], object] = lambda *_: None
        # What a renewal of the lease writes. Nothing but what `show` has shown, because a step may
        # commit a later position meanwhile.
        self._shown: tuple[int, int | None] = (0, None)
        self._is_lost = self._is_to_stop = False
        self.is_left = False
        self._has_ended = threading.Event()

    def step(self, work: Callable[[Progress], Progress]) -> None:
        """Do a step: commit what `work` writes together with the progress that it returns.

        Args:
            work: is called in a transaction with the progress until now, and again after a
                deadlock.

        Raises:
            Stopped: the step is committed, and the job has to stop.
            ClaimLost: the step is rolled back, also by PostgreSQL after MAX_IDLE_SECONDS.
        """
        self.check()
        try:
            self.progress, stop = self._step(work)
        except InternalError as error:
            if isinstance(error.__cause__, IdleInTransactionSessionTimeout):
                raise ClaimLost from error
            raise
        self.report(self.progress.done, self.progress.total)
        if stop:
            raise Stopped

    @in_transaction
    def _step(self, work: Callable[[Progress], Progress]) -> tuple[Progress, bool]:
        is_quiet = not self.job.parameters.get(START_AUTOMATIONS)
        fetch_one(
            BEGIN_STEP, {"idle": f"{MAX_IDLE_SECONDS}s", "quiet": "on" if is_quiet else "off"}
        )
        progress = work(self.progress)
        row = fetch_row(
            SAVE,
            self._parameters(
                done=progress.done,
                total=progress.total,
                position=orjson.dumps(progress.position).decode(),
                counts=orjson.dumps(progress.counts).decode(),
            ),
        )
        if row is None:
            raise ClaimLost
        return progress, row[0]

    def hold(self) -> None:
        """Keep other processes from the job until the step ends, because it writes a file now.

        A process that was frozen would overwrite what its successor has written.

        Raises:
            ClaimLost: another process runs the job.
        """
        if fetch_row(HOLD, self._parameters()) is None:
            raise ClaimLost

    def clear_results(self) -> None:
        """Delete the results of an earlier run, and of a try that a kill has ended."""
        if not self.progress.position:
            shutil.rmtree(self.job.path / RESULTS, ignore_errors=True)

    def show(self, done: int, total: int | None = None) -> None:
        """Show within a job's only step how far it is. The numbers are no position to go on from.

        Raises:
            Stopped: the job has to stop. The step is rolled back.
            ClaimLost: as Stopped.
        """
        self._shown = (done, total)
        self.report(done, total)
        self.check()

    def check(self) -> None:
        """Raise what `show` raises."""
        if self._is_lost:
            raise ClaimLost
        if self._is_to_stop:
            raise Stopped

    def stop(self) -> None:
        """Let the next `step` or `show` raise Stopped."""
        self._is_to_stop = True

    def leave(self) -> None:
        """Stop, so that another process goes on, because this one ends."""
        self.is_left = True
        self.stop()

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Renew the lease until the block ends, in a thread with a connection of its own."""
        thread = threading.Thread(target=self._renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._has_ended.set()
            thread.join()

    def _renew(self) -> None:
        try:
            while not self._has_ended.wait(RENEW_SECONDS):
                try:
                    done, total = self._shown
                    row = fetch_row(RENEW, self._parameters(done=done or None, total=total))
                except (OperationalError, InterfaceError):
                    # The step finds out by itself, and the next try gets a new connection.
                    connections.close_all()
                    continue
                if row is None:
                    self._is_lost = True
                elif row[0]:
                    self._is_to_stop = True
        finally:
            connections.close_all()

    def end(self, state: JobState, error: str = "") -> None:
        """Store that the job has ended, unless another process runs it now."""
        parameters = self._parameters(state=state, error=error, now=timezone.now())
        if fetch_row(END, parameters):
            record_job(
                "ended", self.job.kind, self.job.pk, state=state, **dict(self.progress.counts)
            )

    def release(self) -> None:
        """Let another process go on at once."""
        fetch_rows(RELEASE, self._parameters())

    def _parameters(self, **parameters: Any) -> dict[str, Any]:
        return {
            "job": self.job.pk,
            "claim": self.job.claim,
            "lease": LEASE_SECONDS,
            **parameters,
        }


def create_job(
    kind: str,
    title: str,
    parameters: Mapping[str, Any],
    *,
    created_by: User | None = None,
    state: JobState = JobState.WAITING,
) -> Job:
    """Create a job, which a process that runs jobs claims within a second.

    Args:
        kind: a registered name.
        title: what the job does, for the list of jobs.
        parameters: the kind's own, as JSON.
        created_by: the admin user, whose permissions the job has. None for an operator's command.
        state: WAITING, DRAFT, or DONE for what a request has done by itself.
    """
    ended_at = timezone.now() if state == JobState.DONE else None
    return Job.objects.create(
        kind=kind,
        title=title[:300],
        parameters=parameters,
        created_by=created_by,
        state=state,
        ended_at=ended_at,
    )


def claim_job(job_id: int | None = None) -> Run | None:
    """Claim a job, the oldest that waits or whose process has died, or None if there is none.

    Args:
        job_id: of the only job to claim.
    """
    row = fetch_row(CLAIM, {"job": job_id, "lease": LEASE_SECONDS})
    return Run(Job.objects.select_related("created_by").get(pk=row[0])) if row else None


def run_claimed(run: Run) -> None:
    """Run a claimed job until it ends, and store how.

    An unavailable database ends nothing: the job is claimed again when its lease has ended.

    Raises:
        Stopped: `run.leave()` was called, and the job waits for another process.
        django.db.OperationalError: the database is unavailable.
    """
    job = run.job
    try:
        kind = _permitted_kind(job)
        with run.lease():
            kind.run(run)
    except Stopped:
        if run.is_left and not Job.objects.filter(pk=job.pk, stop_requested=True).exists():
            run.release()
            raise
        run.end(JobState.STOPPED)
    except ClaimLost:
        logger.warning("Job %d goes on in another process.", job.pk)
    except JobError as error:
        run.end(JobState.FAILED, str(error))
    except (OperationalError, InterfaceError):
        raise
    except OSError as error:
        run.end(JobState.FAILED, f"The files of the job cannot be used: {error.strerror}.")
    except Exception:
        logger.exception("Job %d failed.", job.pk)
        run.end(JobState.FAILED, "An error of Tallybook. The log of the server has it.")
    else:
        run.end(JobState.DONE)


def _permitted_kind(job: Job) -> JobKind:
    """Return a job's kind.

    Raises:
        JobError: there is none, or the admin user may not run it any more.
    """
    kind = _kinds.get(job.kind)
    if kind is None:
        raise JobError(f"This version knows no jobs of the kind {job.kind}.")
    user = job.created_by
    if user and not (user.is_active and user.has_perms(kind.permissions)):
        raise JobError(f"{user} may not do this any more.")
    return kind


def request_stop(job_id: int) -> None:
    """Stop a job that waits, or let the process that runs it stop after its step."""
    waiting = Job.objects.filter(pk=job_id, state=JobState.WAITING)
    if not waiting.update(state=JobState.STOPPED, ended_at=timezone.now()):
        Job.objects.filter(pk=job_id, state=JobState.RUNNING).update(stop_requested=True)


def stop_jobs_of(user: User) -> None:
    """Stop the jobs of a user who is deleted, because one without a user is an operator's."""
    states = (JobState.WAITING, JobState.RUNNING)
    for job in Job.objects.filter(created_by=user, state__in=states):
        request_stop(job.pk)


def resume(job_id: int) -> bool:
    """Let a job that was stopped or has failed go on after its last step. Returns whether it was.

    It starts over if its kind has stored no position.
    """
    ended = Job.objects.filter(pk=job_id, state__in=(JobState.STOPPED, JobState.FAILED))
    return bool(ended.update(state=JobState.WAITING, error="", ended_at=None))


def stop_restored_jobs(_: object) -> Iterator[str]:
    """Stop the jobs that a backup holds as open, because their files and the time are others.

    Changes of the status before the backup cannot be undone any more, because contacts may have
    opted out since.

    Args:
        _: a connection to the old store.

    Yields:
        What the operator has to read.
    """
    open_jobs = Job.objects.filter(state__in=(JobState.WAITING, JobState.RUNNING))
    number = open_jobs.update(state=JobState.STOPPED, stop_requested=False, ended_at=timezone.now())
    if number:
        yield f"{number} jobs of the backup had not ended. They are stopped."
    BulkChange.objects.filter(field="status").delete()


def restart(job: Job, title: str, parameters: Mapping[str, Any]) -> bool:
    """Let a draft, or a job that has ended, run from its beginning. Returns whether it was one.

    Args:
        job: the job, whose upload stays. If it was started since it was read, it is left as it is.
        title: as of `create_job`.
        parameters: as of `create_job`.
    """
    begun = (JobState.WAITING, JobState.RUNNING)
    return bool(
        Job.objects.filter(pk=job.pk, state=job.state, claim=job.claim)
        .exclude(state__in=begun)
        .update(
            title=title[:300],
            parameters=parameters,
            state=JobState.WAITING,
            done=0,
            total=None,
            position={},
            counts={},
            error="",
            ended_at=None,
            created_at=timezone.now(),
        )
    )


def delete_files(job: Job) -> None:
    """Delete the folder of a job, if there is one."""
    shutil.rmtree(job.path, ignore_errors=True)


def prune_files() -> int:
    """Delete drafts, and the folders of jobs that ended long ago, and of no job. Returns how many.

    The rows of the jobs stay. Changes of contacts can be undone for KEEP_UNDO.
    """
    now = timezone.now()
    BulkChange.objects.filter(job__created_at__lt=now - KEEP_UNDO).delete()
    Job.objects.filter(state=JobState.DRAFT, created_at__lt=now - KEEP_DRAFTS).delete()
    if not settings.FILES_DIR.is_dir():
        return 0
    ended_at = dict(Job.objects.values_list("folder", "ended_at"))
    number = 0
    for folder in settings.FILES_DIR.iterdir():
        if folder.name in ended_at:
            ended = ended_at[folder.name]
            is_old = ended is not None and ended < now - KEEP_FILES
        else:
            # The row of a new job may not be committed yet.
            is_old = folder.stat().st_mtime < (now - KEEP_DRAFTS).timestamp()
        if is_old:
            shutil.rmtree(folder)
            number += 1
    return number
