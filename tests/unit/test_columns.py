"""transfers.columns and transfers.conversion on the exports of other programs."""

from pathlib import Path
from typing import Any

import pytest

from config.api.errors import InvalidFields
from config.api.warnings import Warnings
from crm.models import CustomField, Status
from tests.unit.program_files import FILES, ProgramFile
from transfers.columns import IGNORE, Kind, check_mapping, guess
from transfers.conversion import EventMapping, contact_of
from transfers.exports.events import OCCURRENCE_COLUMNS
from transfers.options import ContactOptions, Options
from transfers.tables import inspect, open_table

DECLARED = {"size": CustomField(slug="size", label="Shoe size", type="text")}


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_the_export_of_a_program_is_read(file: ProgramFile, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(file.text, newline="")
    with open_table(path, inspect(path)) as table:
        [row] = table.rows()
        mapping = guess(table.columns, [row.values], file.kind, DECLARED)
    known = {column: target for column, target in mapping.items() if target != IGNORE}
    assert known == file.targets
    check_mapping(mapping, table.columns, file.kind)
    warnings: Warnings = []
    if file.kind == "events":
        item = EventMapping(mapping, Options(**file.options)).event_of(row.values, warnings)
    else:
        options = ContactOptions(**{"status": Status.PENDING, **file.options})
        item = contact_of(row.values, mapping, options, DECLARED, warnings)
    assert (item, warnings) == (file.first, [])


@pytest.mark.parametrize(
    ("columns", "sample", "targets"),
    [
        # The preferred name, wherever it stands.
        (["mail", "email"], {}, {"email": "email"}),
        (["Tags", "Labels", "email"], {}, {"Tags": "tags", "Labels": "tags", "email": "email"}),
        (["kontakt", "x"], {"kontakt": "a@x.example", "x": "y"}, {"kontakt": "email"}),
        (["Name", "email"], {}, {"Name": "full_name", "email": "email"}),
        (["Birthday", "email"], {"Birthday": "12/10"}, {"email": "email"}),
        (["data", "email"], {"data": "free text"}, {"email": "email"}),
        (["identities", "email"], {"identities": "x"}, {"email": "email"}),
        (["\ufeffE-MAIL ", "PRÉNOM"], {}, {"\ufeffE-MAIL ": "email", "PRÉNOM": "first_name"}),
        (["size", "email"], {}, {"size": "custom:size", "email": "email"}),
    ],
)
def test_a_column_is_guessed(
    columns: list[str], sample: dict[str, Any], targets: dict[str, str]
) -> None:
    mapping = guess(columns, [sample], "contacts", DECLARED)
    assert list(mapping) == columns
    assert {column: target for column, target in mapping.items() if target != IGNORE} == targets


def test_rows_of_an_export_of_occurrences_are_events_named_by_their_ids() -> None:
    mapping = guess(list(OCCURRENCE_COLUMNS), [], "events")
    named = {column: target for column, target in mapping.items() if column != target}
    assert named == {
        "id": "idempotency_key",
        "event_id": IGNORE,
        "counter": IGNORE,
        "received_at": IGNORE,
    }


@pytest.mark.parametrize(
    ("kind", "mapping", "errors"),
    [
        ("contacts", {"a": "email", "b": "email"}, {"b": ["unique"]}),
        ("contacts", {"a": "first_name"}, {"email": ["required"]}),
        ("contacts", {"a": "email", "z": "city"}, {"z": ["exists"]}),
        ("contacts", {"a": "email", "b": "notes"}, {"b": ["in"]}),
        ("contacts", {"a": "email", "b": "custom:"}, {"b": ["in"]}),
        ("contacts", {"a": "email", "b": "properties.x"}, {"b": ["in"]}),
        ("events", {"a": "email"}, {"event_key": ["required"]}),
        ("events", {"a": "event_key"}, {"email": ["required"]}),
        ("events", {"a": "user_id", "b": "event_key", "c": "context."}, {"c": ["in"]}),
    ],
)
def test_a_mapping_that_says_too_little_or_too_much_is_rejected(
    kind: Kind, mapping: dict[str, str], errors: dict[str, list[str]]
) -> None:
    with pytest.raises(InvalidFields) as rejected:
        check_mapping(mapping, ["a", "b", "c"], kind)
    assert {name: [*rules] for name, rules in rejected.value.detail.items()} == errors


def test_a_mapping_may_join_labels_and_ignore_columns() -> None:
    mapping = {"a": "user_id", "b": "tags", "c": "tags", "d": IGNORE, "e": IGNORE, "f": "custom:x"}
    check_mapping(mapping, mapping, "contacts")
