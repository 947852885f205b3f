"""Read a FluentCRM by its REST API.

See FluentCRM's app/Http/Routes/api.php, and index, getNotes and getTrackingEvents of its
app/Http/Controllers/SubscriberController.php. The recorded responses are in tests/conformance.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from crm.jobs import JobError
from crm.labels import LABEL_MODELS, LabelKind
from transfers.sources import Attached, Batch, EventRow, SourceContact, SourceLabel
from transfers.sources import fluentcrm as convert
from transfers.sources.client import JsonClient, NotFound, SourceRejection, basic, site_url

NAMESPACE = "fluent-crm/v2"
PER_PAGE = 100
# The pages of labels, and of the notes or events of one contact, at most.
MAX_PAGES = 1_000
# A source whose contacts become so many more while they are read has no end.
MAX_GROWTH = 10_000
NO_EVENTS = "The source does not show events: event tracking is off there, or it has none."
NO_NOTES = "The source does not show notes."
NO_IDS = "{} contacts of page {} at the source have no id."
STRANGE = "The response for {} has another form than FluentCRM's."
BY_ID = {"per_page": PER_PAGE, "sort_by": "id", "sort_type": "ASC"}


class RestSource:
    """A FluentCRM behind its REST API."""

    def __init__(self, client: JsonClient, url: str) -> None:
        """Read the index of the site, which says its zone and where its API is.

        Raises:
            JobError: there is no FluentCRM.
        """
        self._client = client
        self.name = urlsplit(url).netloc
        self.remarks: list[str] = []
        site = url.removesuffix(f"/{NAMESPACE}").removesuffix("/wp-json")
        index = self._find(site)
        if NAMESPACE not in (index.get("namespaces") or ()):
            raise JobError(f"{site} is a WordPress without FluentCRM, or it is switched off there.")
        self._zone = convert.zone_of(index.get("timezone_string"), index.get("gmt_offset"))
        # What the source does not show.
        self._absent: set[str] = set()

    def _find(self, site: str) -> Mapping[str, Any]:
        """Return the index of WordPress's API, by its URL with or without permalinks."""
        fields = {"_fields": "namespaces,timezone_string,gmt_offset"}
        try:
            self._root = f"{site}/wp-json/"
            index = self._client.get(self._root, fields)
        except NotFound:
            self._root = f"{site}/?rest_route=/"
            index = self._client.get(self._root, fields)
        return index if isinstance(index, dict) else {}

    def fields(self) -> list[Any]:
        """Return the definitions of custom fields."""
        return self._list(self._get("custom-fields/contacts"), "fields")

    def labels(self, kind: LabelKind) -> list[SourceLabel]:
        """Return all tags or lists."""
        rows = self._pages(kind, kind, {"exclude_counts": "1", "sort_order": "ASC"})
        return [convert.label(row, self._zone) for row in rows]

    def batches(self, after: int, place: int) -> Iterator[Batch]:
        """Yield the contacts behind an id, by pages.

        Args:
            after: the id.
            place: the number of the last page that was read, or 0.
        """
        # Contacts may have been deleted meanwhile, which moves the others to earlier pages.
        page = max(place - 1, 1)
        total, most = 0, None
        while True:
            body = self._get("subscribers", page=page, custom_fields="true", **BY_ID)
            found = self._dict(body, "subscribers")
            rows, before = self._list(found, "data"), total
            total = convert.id_of(found, "total")
            if page > 1 and total < before:
                page -= 1
                continue
            most = total + MAX_GROWTH if most is None else most
            if page * PER_PAGE > most:
                raise JobError("The source has ever more contacts. Its pages have no end.")
            if strange := sum(not convert.id_of(row) for row in rows):
                self.remarks.append(NO_IDS.format(strange, page))
            contacts = [self._contact(row) for row in rows if convert.id_of(row) > after]
            if contacts:
                # Ids are in their order, so that no page brings the contacts of another.
                contacts.sort(key=lambda each: each.id)
                after = contacts[-1].id
                yield self._batch(contacts, page, total)
            if not rows or page >= convert.id_of(found, "last_page"):
                return
            page += 1

    def _batch(self, contacts: list[SourceContact], page: int, total: int) -> Batch:
        events = [event for each in contacts for event in self._events(each.id)]
        return Batch(contacts, lambda: events, page, total)

    def _contact(self, row: Mapping[str, Any]) -> SourceContact:
        values = row.get("custom_fields")
        labels: dict[LabelKind, list[Attached]] = {
            kind: [
                Attached(str(convert.id_of(each)), self._attached_at(each))
                for each in row.get(kind) or ()
                if convert.id_of(each)
            ]
            for kind in LABEL_MODELS
            if isinstance(row.get(kind), list)
        }
        notes = [convert.note(each, self._zone) for each in self._notes(convert.id_of(row))]
        return convert.contact(
            row, self._zone, values if isinstance(values, dict) else {}, labels, notes
        )

    def _attached_at(self, row: Mapping[str, Any]) -> Any:
        pivot = row.get("pivot")
        at = pivot.get("created_at") if isinstance(pivot, dict) else None
        return convert.moment(at, self._zone)

    def _notes(self, contact_id: int) -> list[Any]:
        return self._of_contact(contact_id, "notes", "notes", NO_NOTES)

    def _events(self, contact_id: int) -> list[EventRow]:
        rows = self._of_contact(contact_id, "tracking-events", "events", NO_EVENTS)
        found = [convert.event(row, contact_id, self._zone) for row in rows]
        return sorted(found, key=lambda each: each.id)

    def _of_contact(self, contact_id: int, path: str, key: str, absent: str) -> list[Any]:
        """Return the rows of a contact, or none if the source does not show such rows."""
        if path in self._absent:
            return []
        try:
            return self._pages(f"subscribers/{contact_id}/{path}", key, {})
        except SourceRejection as error:
            code = error.body.get("error_code") if isinstance(error.body, dict) else None
            if isinstance(error, NotFound) and not _is_no_route(error.body):
                # The contact was deleted a moment ago.
                return []
            if code != "not_enabled" and not isinstance(error, NotFound):
                raise
            self._absent.add(path)
            self.remarks.append(absent)
            return []

    def _pages(self, path: str, key: str, params: Mapping[str, Any]) -> list[Any]:
        """Return the rows of all pages that have an id, each once."""
        rows: dict[int, Any] = {}
        for page in range(1, MAX_PAGES + 1):
            body = self._get(path, page=page, per_page=PER_PAGE, **params)
            found = body.get(key) if isinstance(body, dict) else None
            # Lists are beside their pagination, and tags in it.
            pages = found if isinstance(found, dict) else {"data": found}
            new = {convert.id_of(row): row for row in self._list(pages, "data")}
            new = {number: row for number, row in new.items() if number and number not in rows}
            rows |= new
            if len(new) < PER_PAGE or page == convert.id_of(pages, "last_page"):
                return [*rows.values()]
        raise JobError(f"The pages of {path} have no end.")

    def _get(self, path: str, **params: Any) -> Any:
        return self._client.get(f"{self._root}{NAMESPACE}/{path}", params)

    def _dict(self, body: Any, key: str) -> dict[str, Any]:
        found = body.get(key) if isinstance(body, dict) else None
        if not isinstance(found, dict) or "last_page" not in found:
            raise JobError(STRANGE.format(key))
        return found

    def _list(self, body: Any, key: str) -> list[Any]:
        found = body.get(key) if isinstance(body, dict) else None
        # PHP writes an array with gaps as an object.
        rows = [*found.values()] if isinstance(found, dict) else found
        if not isinstance(rows, list):
            raise JobError(STRANGE.format(key))
        return rows


def _is_no_route(body: Any) -> bool:
    return not isinstance(body, dict) or body.get("code") == "rest_no_route"


@contextmanager
def open_rest(
    parameters: Mapping[str, Any], password: str, check: Callable[[], object]
) -> Iterator[RestSource]:
    """Open a FluentCRM by its URL, and a user with an application password there."""
    url = site_url(parameters["url"])
    headers = basic(parameters["user"], password)
    client = JsonClient(url, headers, parameters["rate"], check)
    try:
        yield RestSource(client, url)
    finally:
        client.close()
