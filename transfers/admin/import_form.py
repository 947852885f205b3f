"""The form in which an admin user chooses how a file is read, and what becomes of its rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField
from django.utils import timezone

from config.api.errors import InvalidFields
from config.api.validation import MAX_NAME_LENGTH
from crm.custom_fields import declared_fields
from crm.identities import to_user_source
from crm.labels import LABEL_MODELS
from crm.models import NewContacts, Status
from transfers.columns import CUSTOM, IGNORE, TARGETS, Kind, check_mapping
from transfers.imports.drafts import Guess
from transfers.imports.reports import sentences
from transfers.tables import FileForm
from transfers.values import ORDERS, guess_order

EXISTING = {
    "fill": "fill their empty fields, and add tags and lists",
    "overwrite": "overwrite their fields with those of the file",
    "skip": "leave them as they are",
}
DECIMAL_MARKS = {".": "1.5", ",": "1,5"}
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
SEPARATORS = {",": "comma", ";": "semicolon", "|": "|"}
SHOWN_CHARACTERS = 60
SHOWN_ROWS = 3


class ShownColumn(NamedTuple):
    """A column of the file: its name, its first values, and the choice of its target."""

    name: str
    values: list[str]
    field: BoundField


class FileFormForm(forms.Form):
    """How the file is read."""

    encoding = forms.CharField(max_length=40, help_text="Such as utf-8, utf-16 or cp1252.")
    delimiter = forms.ChoiceField(choices=DELIMITERS, label="Cells are separated by")
    sheet = forms.ChoiceField(required=False)
    has_header = forms.BooleanField(required=False, label="The first row has the names of columns")

    def __init__(self, data: Any, form: FileForm) -> None:
        names = ("encoding", "delimiter", "sheet", "has_header")
        super().__init__(data, initial={name: getattr(form, name) for name in names})
        self._form = form
        if form.format != "xlsx":
            del self.fields["sheet"]
        else:
            del self.fields["encoding"]
            self.fields["sheet"].choices = [(n, n) for n in form.sheets]  # type: ignore[attr-defined]
        if form.format != "csv":
            del self.fields["delimiter"]
        if form.format == "ndjson":
            del self.fields["has_header"]

    def chosen(self) -> FileForm:
        """Return the form that a valid form chooses."""
        return replace(self._form, **self.cleaned_data, is_guess=False)


class ImportForm(forms.Form):
    """The targets of columns, how values are read, and what is written."""

    status = forms.ChoiceField(
        choices=Status.choices,
        initial=Status.PENDING,
        label="Status of contacts whose row has none",
    )
    existing = forms.ChoiceField(
        choices=EXISTING,
        initial="fill",
        widget=forms.RadioSelect,
        label="What happens to contacts that are there",
    )
    resubscribe = forms.BooleanField(
        required=False,
        label="Subscribe also contacts who opted out or were erased here, as the file says",
        help_text="Without this, no import makes them subscribed. They need to have agreed again.",
    )
    tags = forms.CharField(
        required=False, label="Tags for all", help_text="Titles, separated by commas."
    )
    lists = forms.CharField(
        required=False, label="Lists for all", help_text="Titles, separated by commas."
    )
    create_labels = forms.BooleanField(
        required=False, initial=True, label="Create tags and lists that do not exist"
    )
    separator = forms.ChoiceField(
        choices=SEPARATORS, label="Several tags in a cell are separated by"
    )
    date_order = forms.ChoiceField(
        choices=ORDERS, label="Dates such as 01/02/2026 are", help_text="2026-02-01 is always read."
    )
    decimal_mark = forms.ChoiceField(choices=DECIMAL_MARKS, label="Numbers are written as")
    zone = forms.CharField(
        required=False, label="Time zone", help_text="Of times without one, such as Europe/Berlin."
    )
    new_contacts = forms.ChoiceField(
        choices={
            NewContacts.NONE: "are rejected",
            NewContacts.PENDING: "create pending contacts",
            NewContacts.TRANSACTIONAL: "create transactional contacts",
        },
        label="Events of unknown e-mails",
    )
    source = forms.CharField(
        required=False,
        max_length=MAX_NAME_LENGTH,
        label="Program whose ids user_id has",
        help_text="The source of its application password. Empty: passwords without a source.",
    )

    start_automations = forms.BooleanField(
        required=False,
        label="Start automations by what the import writes",
        help_text="Without this, no automation starts. Old events start none anyway.",
    )

    def __init__(self, data: Any, kind: Kind, guessed: Guess, kept: Mapping[str, Any]) -> None:
        """Create the form.

        Args:
            data: of a POST, or None.
            kind: what the file holds.
            guessed: the file and its columns.
            kept: the parameters of an earlier start of the job.
        """
        initial = {**kept, **kept.get("values", {}), **kept.get("rules", {})}
        for kind_of_label in LABEL_MODELS:
            initial[kind_of_label] = ", ".join(initial.get(kind_of_label, ()))
        if "create" in initial:
            initial["create_labels"] = bool(initial["create"])
        cells = (value for row in guessed.sample.rows for value in row.values.values())
        initial.setdefault("date_order", guess_order(cells))
        initial.setdefault("zone", timezone.get_default_timezone_name())
        super().__init__(data, initial=initial)
        self._kind, self._guessed = kind, guessed
        for name in OF_CONTACTS if kind == "events" else OF_EVENTS:
            del self.fields[name]
        for position, column in enumerate(guessed.sample.columns):
            self.fields[f"column_{position}"] = forms.ChoiceField(
                choices=_choices(column, kind),
                initial=guessed.mapping.get(column, IGNORE),
                label=column,
            )

    def columns(self) -> Iterator[ShownColumn]:
        """Yield the columns of the file."""
        rows = self._guessed.sample.rows[:SHOWN_ROWS]
        for position, column in enumerate(self._guessed.sample.columns):
            values = [_shown(row.values.get(column)) for row in rows]
            yield ShownColumn(column, values, self[f"column_{position}"])

    def options(self) -> Iterator[BoundField]:
        """Yield the fields that are no columns."""
        return (self[name] for name in self.fields if not name.startswith("column_"))

    def clean_zone(self) -> str:
        """Return a time zone that exists."""
        zone: str = self.cleaned_data["zone"].strip()
        if zone and zone not in available_timezones():
            raise ValidationError(f"There is no time zone {zone}.")
        return zone

    def clean_source(self) -> str:
        """Reject what is no name of a source."""
        return to_user_source(self.cleaned_data["source"])

    @property
    def mapping(self) -> dict[str, str]:
        """The targets that a valid form chooses."""
        return {
            column: self.cleaned_data[f"column_{position}"]
            for position, column in enumerate(self._guessed.sample.columns)
        }

    def clean(self) -> dict[str, Any]:
        """Check the targets together."""
        super().clean()
        if not self.errors:
            try:
                check_mapping(self.mapping, self._guessed.sample.columns, self._kind)
            except InvalidFields as error:
                raise ValidationError(sentences(error.detail, [])) from None
        return self.cleaned_data

    def values(self) -> dict[str, Any]:
        """Return how values are read, for `start_import`."""
        data = self.cleaned_data
        values = {name: data[name] for name in ("date_order", "decimal_mark", "zone")}
        if self._kind == "events":
            return values
        labels = {name: _titles(data[name]) for name in LABEL_MODELS}
        return values | labels | {"status": data["status"], "separator": data["separator"]}

    def rules(self, may_create: Sequence[str]) -> dict[str, Any]:
        """Return what is written, for `start_import`.

        Args:
            may_create: the kinds of labels that the admin user may create.
        """
        data = self.cleaned_data
        rules = {"source": data["source"]}
        if self._kind == "events":
            return rules | {"new_contacts": data["new_contacts"]}
        return rules | {
            "existing": data["existing"],
            "resubscribe": data["resubscribe"],
            "create": list(may_create) if data["create_labels"] else [],
        }


OF_EVENTS = ("new_contacts",)
OF_CONTACTS = (
    *("status", "existing", "resubscribe", "tags", "lists", "create_labels", "separator"),
)


def _choices(column: str, kind: Kind) -> list[Any]:
    """Return the targets to choose from: fields, custom fields, and the column by its own name."""
    fields = [(target, target.replace("_", " ")) for target in TARGETS[kind]]
    own = column[:MAX_NAME_LENGTH]
    choices: list[Any] = [(IGNORE, "leave out"), (kind.capitalize(), fields)]
    if kind == "events":
        names = [(f"{name}.{own}", f"{name}: {own}") for name in ("properties", "context")]
        return [*choices, ("Objects", names)]
    custom = {f"{CUSTOM}{field.slug}": field.label for field in declared_fields().values()}
    custom.setdefault(f"{CUSTOM}{own}", f"custom value: {own}")
    return [*choices, ("Custom fields", [*custom.items()])]


def _titles(text: str) -> list[str]:
    return [title.strip() for title in text.split(",") if title.strip()]


def _shown(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
