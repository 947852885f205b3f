"""Import a source by a job: definitions, then contacts with their notes and events, by batches.

A batch is read before its step begins, so that no transaction waits for the source. The job's
position has the last id. An import that is repeated reads all contacts, and writes those that are
new or have changed since the last one began. docs/decisions/sources.md tells why.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from django.db import transaction
from django.utils import timezone

from config.api.validation import InvalidValue, to_email
from config.api.warnings import FieldWarning
from crm import contacts
from crm.emails import email_key
from crm.identities import find_named_contacts
from crm.jobs import RESULTS, JobError, JobKind, Progress, Run
from crm.labels import LABEL_MODELS
from crm.models import OPT_OUTS, Job, JobState, Subscriber
from crm.notes import add_missing_notes
from transfers.contacts import ContactRow, ContactRules, Outcome, import_contacts
from transfers.imports.contacts import HELD_BACK, PERMISSIONS
from transfers.imports.reports import Remark, Reports, sentences
from transfers.sources import Batch, EventRow, Log, Source, SourceContact
from transfers.sources.definitions import LabelIds, write_fields, write_labels
from transfers.sources.events import write_events
from transfers.sources.tally import Tally, compare, write_comparison

# The command that starts a kind of jobs has its name.
FLUENTCRM, ACTIVECAMPAIGN = "import_fluentcrm", "import_activecampaign"
# What is read again of the time before the last import, because clocks differ, and change by an
# hour in autumn.
MARGIN = timedelta(hours=2)
EVENTS_PER_WRITE = 1_000
# Columns of the reports, besides the e-mail.
COLUMNS = ("contact", "email", "event")
REPEAT = (
    "The password of the source is not stored, so only its command goes on. Run manage.py {} again."
)
WRITTEN = ("created", "updated", "held_back")
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
            written = Writer(self._name, self._since, self._labels, self._titles)
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


class Writer:
    """Writes a batch in the caller's transaction, and collects numbers and remarks."""

    def __init__(
        self,
        source: str,
        since: datetime | None,
        labels: LabelIds,
        titles: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Prepare to write.

        Args:
            source: the name of the source.
            since: contacts that are known and have not changed since then stay as they are.
            labels: the ids here of the labels of the source.
            titles: the titles there of its labels.
        """
        self._source = source
        self._since = since
        self._labels = labels
        self._titles = titles
        self._emails: dict[int, str] = {}
        self._renamed: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.remarks: list[Remark] = []

    def write_contacts(self, batch: Sequence[SourceContact]) -> dict[int, int]:
        """Write contacts and their notes. Returns the ids here by those at the source."""
        self._emails = {each.id: str(each.item.get("email", "")) for each in batch}
        names = [str(each.id) for each in batch]
        found = find_named_contacts("contact", self._source, names)
        locked = contacts.lock_of_ids([contact_id for contact_id, _ in found.values()])
        known = {
            int(name): locked[contact_id]
            for name, (contact_id, _) in found.items()
            if contact_id in locked
        }
        keys = {each.id: _key_of(each) for each in batch if each.id not in known}
        same = contacts.lock_of_keys([*keys.values()])
        later: dict[bool, list[SourceContact]] = {True: [], False: []}
        for each in batch:
            here = known.get(each.id)
            if here and self._is_unchanged(here, each):
                self.counts["unchanged"] += 1
                continue
            other = here or same.get(keys[each.id])
            is_later_here = _is_later(other, each)
            if here:
                email = self._email_of(here, each, is_later_here)
                later[is_later_here].append(replace(each, item={**each.item, "email": email}))
            else:
                later[is_later_here].append(each)
        ids = {each: contact.pk for each, contact in known.items()}
        for is_later_here, several in later.items():
            ids |= self._write(several, known, is_later_here)
        self.counts["notes"] += add_missing_notes(
            (ids[each.id], note)
            for each in batch
            if each.id in ids
            for note in each.notes
            if each.id not in known or self._since is None or note["created_at"] >= self._since
        )
        return ids

    def _is_unchanged(self, here: Subscriber, contact: SourceContact) -> bool:
        """Return whether a known contact stays as it is.

        An opt-out comes in any case, because not each change of FluentCRM writes its time.
        """
        is_new_opt_out = contact.item.get("status") in OPT_OUTS and here.status not in OPT_OUTS
        is_old = self._since and contact.changed_at and contact.changed_at < self._since
        return bool(is_old and not is_new_opt_out)

    def _email_of(self, here: Subscriber, contact: SourceContact, is_later_here: bool) -> str:
        """Return the e-mail by which a known contact is found.

        The contact gets the e-mail that it has at the source, unless that is older, invalid, or
        that of another contact.
        """
        own, email = here.email, contact.item.get("email")
        try:
            email = to_email(email)
        except InvalidValue:
            return own
        if is_later_here or email_key(email) == here.email_key:
            return own
        try:
            with transaction.atomic():
                contacts.update(here, {"email": email})
        except contacts.EmailTaken:
            text = f"Another contact has the e-mail {email}, so this one keeps its own."
            self._remark(contact, text)
            return own
        self.counts["new_emails"] += 1
        self._renamed.add(contact.id)
        return email

    def _write(
        self,
        batch: Sequence[SourceContact],
        known: Mapping[int, Subscriber],
        is_later_here: bool,
    ) -> dict[int, int]:
        """Write contacts by one rule, and again without what was invalid. Returns their ids."""
        rules = ContactRules(
            existing="fill" if is_later_here else "overwrite", create=[*LABEL_MODELS]
        )
        by_id = {each.id: each for each in batch}
        rows = [self._row(each, each.id in known) for each in batch]
        outcomes = {each.number: each for each in import_contacts(rows, rules)} if rows else {}
        again = [
            mended
            for row in rows
            if (mended := _without_invalid(row, outcomes[row.number])) is not None
        ]
        if again:
            outcomes |= {each.number: each for each in import_contacts(again, rules)}
        moments = {}
        for number, outcome in outcomes.items():
            contact = by_id[number]
            self.counts[outcome.kind] += 1
            self._report(contact, outcome)
            is_written = number in self._renamed or outcome.kind in WRITTEN
            if outcome.contact_id and is_written and contact.updated_at and not is_later_here:
                moments[outcome.contact_id] = min(contact.updated_at, timezone.now())
        if moments:
            contacts.set_updated_at(moments)
        return {number: each.contact_id for number, each in outcomes.items() if each.contact_id}

    def _row(self, contact: SourceContact, is_known: bool) -> ContactRow:
        """Return a contact as `import_contacts` accepts it."""
        if contact.error:
            return ContactRow(contact.id, {}, {"contact": {"invalid": contact.error}}, [])
        item = dict(contact.item)
        for kind, labels in contact.labels.items():
            item[kind] = [
                self._label_name(kind, each.label_id)
                for each in labels
                # One that was detached here stays so, unless it was attached there since.
                if not (is_known and self._since and each.at and each.at < self._since)
            ]
        item["identities"] = [{"kind": "contact", "source": self._source, "value": str(contact.id)}]
        return ContactRow(contact.id, item, {}, [])

    def _label_name(self, kind: str, label_id: str) -> Any:
        if pk := self._labels.get(kind, {}).get(label_id):
            return str(pk)
        title = self._titles.get(kind, {}).get(label_id)
        return {"title": title} if title else ""

    def _report(self, contact: SourceContact, outcome: Outcome) -> None:
        reason = sentences(outcome.errors, outcome.warnings)
        if not reason and outcome.kind == "held_back":
            reason = HELD_BACK
        if reason:
            self._remark(contact, reason, outcome.kind == "rejected")

    def _remark(self, contact: SourceContact, text: str, is_rejected: bool = False) -> None:
        values = {"contact": contact.id, "email": self._emails[contact.id]}
        self.remarks.append(Remark(contact.id, text, values, is_rejected))

    def write_events(
        self, events: Iterable[EventRow | Log], ids: Mapping[int, int], tally: Tally
    ) -> None:
        """Write the events of the contacts, by their ids here."""
        remaining: Iterator[EventRow | Log] = iter(events)
        seen: set[tuple[int, str, str]] = set()
        while piece := list(islice(remaining, EVENTS_PER_WRITE)):
            for outcome in write_events(piece, ids, self._source, seen):
                tally.add_event(outcome.event, outcome.event_key)
                contact_id = outcome.event.contact_id
                self.counts["events_rejected"] += outcome.is_rejected
                self.counts["times_counted"] += outcome.added
                if outcome.remark:
                    values = {
                        "contact": contact_id,
                        "email": self._emails.get(contact_id, ""),
                        "event": outcome.event.event_key,
                    }
                    remark = Remark(contact_id, outcome.remark, values, outcome.is_rejected)
                    self.remarks.append(remark)


def _key_of(contact: SourceContact) -> str:
    """Return the key of a contact's e-mail, or "" if that is none."""
    try:
        return email_key(to_email(contact.item.get("email")))
    except InvalidValue:
        return ""


def _is_later(here: Subscriber | None, contact: SourceContact) -> bool:
    """Return whether a contact was changed here after its last change at the source."""
    if here is None or here.made_by_track:
        return False
    return contact.updated_at is None or here.updated_at > contact.updated_at


def _without_invalid(row: ContactRow, outcome: Outcome) -> ContactRow | None:
    """Return a rejected row without the fields that are invalid, or None if it needs them.

    A contact that is left out would lose its opt-out, and its events.
    """
    names = {name.partition(".")[0] for name in outcome.errors}
    if outcome.kind != "rejected" or not row.item or not names <= row.item.keys() - {"email"}:
        return None
    item = {name: value for name, value in row.item.items() if name not in names}
    if "custom_values" in names:
        values = row.item["custom_values"]
        invalid = {name.partition(".")[2] for name in outcome.errors}
        kept = {name: value for name, value in values.items() if name not in invalid}
        item["custom_values"] = kept if len(kept) < len(values) else {}
    if "status" in names:
        item["status"] = "pending"
    message = f"It was written without this. {sentences(outcome.errors, [])}"
    warning: FieldWarning = {"field": min(names), "rule": "invalid", "message": message}
    return ContactRow(row.number, item, {}, [*row.warnings, warning])
