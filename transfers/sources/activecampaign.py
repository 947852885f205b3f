"""Read an ActiveCampaign by its API, version 3.

See the pages "List, search, and filter contacts", "List all custom fields", "Retrieve contacts
tracking logs" and "Pagination" of https://developers.activecampaign.com/reference. Ids are texts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from config.api.validation import InvalidValue, to_text
from crm.activecampaign.serializers import LIST_STATUSES, OPTED_OUT
from crm.activecampaign.views.fields import TYPES
from crm.jobs import JobError
from crm.labels import LABEL_MODELS, LabelKind
from crm.models import LIST_TYPES, FieldType, Status
from transfers.sources import Attached, Batch, Log, SourceContact, SourceLabel
from transfers.sources.client import JsonClient, NotFound, site_url
from transfers.sources.fluentcrm import EPOCH, id_of, label, latest, moment

PER_PAGE = 100
MAX_PAGES = 1_000
# What a contact has beside its columns: sent with the page of contacts, or at URLs of its own.
BESIDE = ("contactTags", "contactLists", "fieldValues")
# Of the labels: what ActiveCampaign calls title, slug and id.
TITLES: Mapping[LabelKind, str] = {"tags": "tag", "lists": "name"}
# The column of a contact -> ActiveCampaign's name.
COLUMNS = {
    **{"email": "email", "first_name": "firstName", "last_name": "lastName"},
    **{"phone": "phone", "ip": "ip", "created_at": "cdate"},
}
BOUNCED = LIST_STATUSES[Status.BOUNCED]
ACTIVE = LIST_STATUSES[Status.SUBSCRIBED]
DELETED = "ActiveCampaign has deleted or anonymized the contact."
ABSENT = "The source does not show {} of contacts."
STRANGE = "The response for {} has another form than ActiveCampaign's."


class ActiveCampaignSource:
    """An ActiveCampaign behind its API."""

    def __init__(self, client: JsonClient, url: str) -> None:
        """Check the token.

        Raises:
            JobError: it is rejected, or the URL is another.
        """
        self._client = client
        self._root = f"{url.removesuffix('/api/3')}/api/3/"
        self.name = urlsplit(url).netloc
        self.remarks: list[str] = []
        self._absent: set[str] = set()
        self._options: dict[str, list[str]] = defaultdict(list)
        self._fields = self._pages("fields", self._read_options)
        # The slug and the type of each field by its id.
        self._slugs = {id_of(each): _slug(each) for each in self._fields}
        self._types = {id_of(each): _type(each) for each in self._fields}

    def _read_options(self, body: Mapping[str, Any]) -> None:
        for option in body.get("fieldOptions") or ():
            if isinstance(option, dict) and isinstance(option.get("value"), str):
                self._options[str(option.get("field"))].append(option["value"])

    def fields(self) -> list[Any]:
        """Return the definitions of custom fields. The slug is the perstag in lower case."""
        return [
            {
                "type": _type(each).value,
                "label": each.get("title"),
                "slug": _slug(each),
                "options": self._options[str(each.get("id"))],
            }
            for each in self._fields
        ]

    def labels(self, kind: LabelKind) -> list[SourceLabel]:
        """Return all tags or lists. A tag has no slug."""
        return [
            label(
                {
                    **{
                        "id": row["id"],
                        "title": row.get(TITLES[kind]),
                        "slug": row.get("stringid"),
                    },
                    **{"description": row.get("description"), "created_at": row.get("cdate")},
                    "updated_at": row.get("udate"),
                },
                UTC,
            )
            for row in self._pages(kind)
        ]

    def batches(self, after: int, place: int) -> Iterator[Batch]:
        """Yield the contacts behind an id."""
        params = {"limit": PER_PAGE, "orders[id]": "ASC", "include": ",".join(BESIDE)}
        while True:
            # There is no id 0.
            behind = {"id_greater": after} if after else {}
            body = self._get("contacts", {**params, **behind})
            total = id_of(body.get("meta"), "total") + place or None
            contacts = sorted(
                (row for row in self._rows(body, "contacts") if id_of(row) > after), key=id_of
            )
            if not contacts:
                return
            after = id_of(contacts[-1])
            beside = {name: self._beside(name, body, contacts) for name in BESIDE}
            found = [self._contact(row, beside) for row in contacts]
            logs = [log for each in found if not each.error for log in self._logs(each.id)]
            # ActiveCampaign's total is of the contacts behind the id.
            place += len(contacts)
            yield Batch(found, partial(list, logs), place, total)

    def _beside(
        self, name: str, body: Mapping[str, Any], contacts: Sequence[Any]
    ) -> Mapping[int, list[Any]]:
        """Return the rows of a kind by their contact."""
        if isinstance(body.get(name), list):
            rows = body[name]
        else:
            rows = [row for each in contacts for row in self._of_contact(id_of(each), name)]
        found: dict[int, list[Any]] = defaultdict(list)
        for row in rows:
            found[id_of(row, "contact")].append(row)
        return found

    def _contact(
        self, row: Mapping[str, Any], beside: Mapping[str, Mapping[int, list[Any]]]
    ) -> SourceContact:
        contact_id = id_of(row)
        tags, lists, values = (beside[name].get(contact_id, []) for name in BESIDE)
        item = {name: row.get(theirs) for name, theirs in COLUMNS.items()}
        item["status"] = status_of(row, lists)
        custom_values = {
            self._slugs[id_of(each, "field")]: self._value(each)
            for each in values
            if id_of(each, "field") in self._slugs
        }
        if custom_values:
            item["custom_values"] = custom_values
        labels: dict[LabelKind, list[Attached]] = {
            kind: [
                Attached(str(id_of(each, kind[:-1])), moment(each.get("cdate"), UTC))
                for each in rows
                if id_of(each, kind[:-1])
            ]
            for kind, rows in zip(LABEL_MODELS, (tags, lists), strict=True)
        }
        is_gone = "1" in (str(row.get("deleted")), str(row.get("anonymized")))
        updated_at = moment(row.get("udate"), UTC)
        moments = [each.at for several in labels.values() for each in several]
        moments += [moment(each.get("udate"), UTC) for each in (*lists, *values)]
        return SourceContact(
            contact_id,
            item,
            updated_at,
            latest([updated_at, *moments]),
            labels,
            [] if is_gone else [_note(each) for each in self._of_contact(contact_id, "notes")],
            error=DELETED if is_gone else "",
        )

    def _value(self, row: Mapping[str, Any]) -> Any:
        value = row.get("value")
        if self._types[id_of(row, "field")] in LIST_TYPES and isinstance(value, str):
            return [each for each in value.split("||") if each]
        return "" if value is None else value

    def _logs(self, contact_id: int) -> list[Log]:
        logs = []
        for row in self._of_contact(contact_id, "trackingLogs"):
            try:
                texts = [to_text(row.get(name)) for name in ("type", "value", "tstamp")]
            except InvalidValue:
                continue
            logs.append(Log(id_of(row), contact_id, *texts))
        return sorted(logs, key=lambda each: each.id)

    def _of_contact(self, contact_id: int, name: str) -> list[Any]:
        """Return the rows of a contact, or none if the source does not show such rows."""
        if name in self._absent:
            return []
        try:
            return self._pages(f"contacts/{contact_id}/{name}")
        except NotFound as error:
            # ActiveCampaign's 404 of a contact has a message: the contact was deleted meanwhile.
            if not isinstance(error.body, dict) or "code" in error.body:
                self._absent.add(name)
                self.remarks.append(ABSENT.format(name))
            return []

    def _pages(
        self, path: str, look: Callable[[Mapping[str, Any]], object] = lambda _: None
    ) -> list[Any]:
        """Return the rows of all pages that have an id, each once.

        Args:
            path: whose last part is the name of the rows.
            look: is called with each page.
        """
        rows: dict[int, Any] = {}
        for page in range(MAX_PAGES):
            body = self._get(path, {"limit": PER_PAGE, "offset": page * PER_PAGE})
            look(body)
            found = self._rows(body, path.rpartition("/")[2])
            new = {id_of(row): row for row in found if id_of(row) and id_of(row) not in rows}
            rows |= new
            if len(new) < PER_PAGE:
                return [*rows.values()]
        raise JobError(f"The pages of {path} have no end.")

    def _get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        body = self._client.get(self._root + path, params)
        if not isinstance(body, dict):
            raise JobError(STRANGE.format(path))
        return body

    @staticmethod
    def _rows(body: Mapping[str, Any], key: str) -> list[Any]:
        rows = body.get(key)
        if not isinstance(rows, list):
            raise JobError(STRANGE.format(key))
        return [row for row in rows if isinstance(row, dict)]


def status_of(row: Mapping[str, Any], lists: Iterable[Mapping[str, Any]]) -> Status:
    """Return the status of a contact from its statuses on lists.

    An opt-out from one list counts for all. A contact on no list is not subscribed by a guess.
    See docs/decisions/status-of-lists.md.
    """
    statuses = {str(each.get("status")) for each in lists}
    if OPTED_OUT in statuses:
        return Status.UNSUBSCRIBED
    if BOUNCED in statuses or str(row.get("bounced_hard")) not in ("0", "", "None"):
        return Status.BOUNCED
    return Status.SUBSCRIBED if ACTIVE in statuses else Status.PENDING


def _slug(field: Mapping[str, Any]) -> str:
    return str(field.get("perstag") or f"field_{field.get('id')}").strip("%").lower()


def _type(field: Mapping[str, Any]) -> FieldType:
    return TYPES.get(str(field.get("type")), FieldType.TEXT)


def _note(row: Mapping[str, Any]) -> dict[str, Any]:
    created_at: datetime = moment(row.get("cdate"), UTC) or EPOCH
    text = row.get("note")
    return {
        "title": "Note",
        "description": text if isinstance(text, str) and text.strip() else "Note",
        "created_at": created_at,
        "updated_at": moment(row.get("mdate"), UTC) or created_at,
    }


@contextmanager
def open_activecampaign(
    parameters: Mapping[str, Any], token: str, check: Callable[[], object]
) -> Iterator[ActiveCampaignSource]:
    """Open an ActiveCampaign by the URL of its account, and a token."""
    url = site_url(parameters["url"])
    client = JsonClient(url, {"Api-Token": token}, parameters["rate"], check)
    try:
        yield ActiveCampaignSource(client, url)
    finally:
        client.close()
