"""Import a source by a job: definitions, then contacts with their notes and events, by batches.

An import that is repeated reads all contacts, and writes those that are new or have changed since
the last one began. docs/decisions/sources.md tells why.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from crm.jobs import RESULTS, JobError, JobKind, Progress, Run
from crm.labels import LABEL_MODELS
from crm.models import Job, JobState
from transfers.imports.contacts import PERMISSIONS
from transfers.imports.reports import Remark, Reports
from transfers.sources import Batch, Source
from transfers.sources.definitions import LabelIds, write_fields, write_labels
from transfers.sources.tally import Tally, compare, write_comparison
from transfers.sources.writing import Writer

# The command that starts a kind of jobs has its name.
FLUENTCRM, ACTIVECAMPAIGN = "import_fluentcrm", "import_activecampaign"
# What is read again of the time before the last import, because clocks differ, and change by an
# hour in autumn.
MARGIN = timedelta(hours=2)
# Columns of the reports, besides the e-mail.
COLUMNS = ("contact", "email", "event")
REPEAT = (
    "The password of the source is not stored, so only its command goes on. Run manage.py {} again."
)
# The secrets of the jobs that this process runs, by their ids.
secrets: dict[int, str] = {}


def run_import(run: Run) -> None:
    """Import a source."""
    # Here, because a worker that answers requests does without the clients of sources.
    from transfers.sources.openers import OPENERS

    secret = secrets.get(run.job.pk)
    if secret is None:
        raise JobError(REPEAT.format(run.job.kind))
    with OPENERS[run.job.kind](run.job.parameters, secret, run.check) as source:
        Import(run, source).run()


IMPORT_SOURCE = JobKind(run_import, PERMISSIONS)


def last_import(job: Job) -> Job | None:
    """Return the last import of the same source that is done, before a job."""
    done = Job.objects.filter(kind=job.kind, state=JobState.DONE, pk__lt=job.pk)
    same = done.filter(parameters__source=job.parameters["source"], parameters__dry_run=False)
    return same.order_by("-pk").first()


class Import:
    """An import of a source by a job that this process has claimed."""

    def __init__(self, run: Run, source: Source) -> None:
        """Read what the last import of the source has left."""
        self._run = run
        self._source = source
        self._name: str = run.job.parameters["source"]
        # ActiveCampaign has no user ids.
        self._user_source: str = run.job.parameters.get("user_source", "")
        self._is_dry = bool(run.job.parameters["dry_run"])
        self._reports = Reports(run.job.path / RESULTS, COLUMNS)
        last = last_import(run.job)
        position = last.position if last else {}
        self._since = (
            datetime.fromisoformat(position["started"]) - MARGIN if "started" in position else None
        )
        self._labels: LabelIds = run.progress.position.get("labels") or position.get("labels") or {}

    def run(self) -> None:
        """Import everything, and compare the numbers."""
        fields = self._source.fields()
        labels = {kind: self._source.labels(kind) for kind in LABEL_MODELS}
        self._run.step(partial(self._write_definitions, fields, labels))
        position = self._run.progress.position
        for batch in self._source.batches(position["after"], position["place"]):
            self._run.step(partial(self._write_batch, batch))
        self._run.step(self._write_remarks)
        if not self._is_dry:
            numbers = self._run.progress.position["tally"]
            rows = compare(self._name, numbers, self._labels)
            write_comparison(self._run.job.path / RESULTS, rows)

    def _write_definitions(
        self, fields: Sequence[Any], labels: Mapping[Any, Any], progress: Progress
    ) -> Progress:
        position = {
            "started": timezone.now().isoformat(),
            "after": 0,
            "place": 0,
            "tally": {},
            "lengths": {},
            **progress.position,
        }
        counts = Counter(progress.counts)
        with transaction.atomic():
            number, remarks = write_fields(fields)
            counts["custom_fields"] += number
            ids: LabelIds = {}
            for kind, rows in labels.items():
                number, ids[kind], others = write_labels(kind, rows, self._labels.get(kind, {}))
                counts[kind] += number
                remarks += others
            transaction.set_rollback(self._is_dry)
        # What a dry run has created is rolled back. Its steps create labels by their titles.
        self._labels = self._labels if self._is_dry else ids
        self._titles = {
            kind: {each.id: each.fields.get("title") for each in rows}
            for kind, rows in labels.items()
        }
        position["labels"] = self._labels
        position["lengths"] = self._write_sentences(remarks, position["lengths"])
        return Progress(progress.done, progress.total, position, dict(counts))

    def _write_sentences(self, texts: Iterable[str], lengths: Mapping[str, int]) -> dict[str, int]:
        return self._reports.write([Remark(0, text, {}, False) for text in texts], lengths)

    def _write_remarks(self, progress: Progress) -> Progress:
        """Report what could not be read at the source."""
        lengths = self._write_sentences(self._source.remarks, progress.position["lengths"])
        return progress._replace(position={**progress.position, "lengths": lengths})

    def _write_batch(self, batch: Batch, progress: Progress) -> Progress:
        tally = Tally(progress.position["tally"])
        tally.add_contacts(batch.contacts)
        with transaction.atomic():
            written = Writer(self._name, self._since, self._labels, self._titles, self._user_source)
            ids = written.write_contacts(batch.contacts)
            written.write_events(batch.events(), ids, tally)
            transaction.set_rollback(self._is_dry)
        lengths = self._reports.write(written.remarks, progress.position["lengths"])
        counts = Counter(progress.counts)
        counts.update(written.counts)
        position = {
            **progress.position,
            "after": batch.contacts[-1].id,
            "place": batch.place,
            "tally": tally.numbers,
            "lengths": lengths,
        }
        done = progress.done + len(batch.contacts)
        return Progress(done, batch.total, position, dict(counts))
