"""Write a batch of contacts of a source, with their notes and events, in one transaction."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.utils import timezone

from config.api.validation import InvalidValue, to_email
from config.api.warnings import FieldWarning
from crm import contacts
from crm.emails import email_key
from crm.identities import find_named_contacts
from crm.labels import LABEL_MODELS
from crm.models import OPT_OUTS, Subscriber
from crm.notes import add_missing_notes
from transfers.contacts import ContactRow, ContactRules, Outcome, import_contacts
from transfers.imports.contacts import HELD_BACK
from transfers.imports.reports import Remark, sentences
from transfers.sources import EventRow, Log, SourceContact
from transfers.sources.definitions import LabelIds
from transfers.sources.events import write_events
from transfers.sources.tally import Tally

EVENTS_PER_WRITE = 1_000
# What becomes of a contact whose columns are written.
WRITTEN = ("created", "updated", "held_back")


class Writer:
    """Writes a batch in the caller's transaction, and collects numbers and remarks."""

    def __init__(
        self,
        source: str,
        since: datetime | None,
        labels: LabelIds,
        titles: Mapping[str, Mapping[str, Any]],
        user_source: str,
    ) -> None:
        """Prepare to write.

        Args:
            source: the name of the source.
            since: contacts that are known and have not changed since then stay as they are.
            labels: the ids here of the labels of the source.
            titles: the titles there of its labels.
            user_source: the source of the user_ids of its contacts.
        """
        self._source = source
        self._since = since
        self._labels = labels
        self._titles = titles
        self._user_source = user_source
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

        The contact gets the e-mail that it has at the source, unless that is older, invalid, that
        of another contact, or one that a merged contact had.
        """
        own, email = here.email, contact.item.get("email")
        try:
            email = to_email(email)
        except InvalidValue:
            return own
        key = email_key(email)
        if is_later_here or key == here.email_key or find_named_contacts("email", "", [key]):
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
            existing="fill" if is_later_here else "overwrite",
            create=[*LABEL_MODELS],
            source=self._user_source,
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
