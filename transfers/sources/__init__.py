"""Move contacts and events in from other programs, from their API or their database.

A source yields batches of contacts by their ids there. `run.py` writes them, by a job.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from crm.labels import LabelKind


class SourceLabel(NamedTuple):
    """A tag or list at the source: its id there, the columns of crm's, and its last change."""

    id: str
    fields: Mapping[str, Any]
    updated_at: datetime | None


class Attached(NamedTuple):
    """The id of a label at the source that a contact has, and since when, if that is known."""

    label_id: str
    at: datetime | None


class EventRow(NamedTuple):
    """An event with a counter, as FluentCRM has it: one row for a contact, key and title.

    `error` says why the row cannot be an event, or is "".
    """

    id: int
    contact_id: int
    event_key: str
    title: str
    value: str
    provider: str
    counter: int
    created_at: datetime | None
    updated_at: datetime | None
    error: str = ""


class Log(NamedTuple):
    """One time that an event happened, as ActiveCampaign has it."""

    id: int
    contact_id: int
    event_key: str
    value: str
    occurred_at: str


@dataclass
class SourceContact:
    """A contact at the source.

    Attributes:
        id: its id there.
        item: as bulk-add-update accepts it, without tags, lists and identities.
        updated_at: when its columns changed last, or None if that is unknown.
        changed_at: when anything of it changed last, or None.
        labels: its tags and lists.
        notes: as `crm.notes.add_missing_notes` accepts them.
        error: why it cannot be a contact, or "".
    """

    id: int
    item: dict[str, Any]
    updated_at: datetime | None = None
    changed_at: datetime | None = None
    labels: Mapping[LabelKind, Sequence[Attached]] = field(default_factory=dict)
    notes: Sequence[Mapping[str, Any]] = ()
    error: str = ""


class Batch(NamedTuple):
    """Contacts in the order of their ids, which are written together.

    Attributes:
        contacts: the contacts.
        events: yields their events, in the order of their contacts. It may be called again.
        place: where the source goes on behind them, besides the last id.
        total: the number of all contacts, or None.
    """

    contacts: Sequence[SourceContact]
    events: Callable[[], Iterable[EventRow | Log]]
    place: int
    total: int | None


class Source(Protocol):
    """Another program's store. Each method raises JobError if the source cannot be read.

    Attributes:
        name: by which its ids are told from those of others, unless the operator says another.
        remarks: sentences about what cannot be read there.
    """

    name: str
    remarks: list[str]

    def fields(self) -> list[Any]:
        """Return definitions of custom fields, as FluentCRM's API has them."""

    def labels(self, kind: LabelKind) -> list[SourceLabel]:
        """Return all tags or lists."""

    def batches(self, after: int, place: int) -> Iterator[Batch]:
        """Yield the contacts with ids above `after`."""


# Opens a source with the parameters of a job and its secret. The function is called while it waits.
Opener = Callable[[Mapping[str, Any], str, Callable[[], object]], AbstractContextManager[Source]]
