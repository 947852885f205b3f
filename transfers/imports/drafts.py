"""Prepare an import: create its job, guess what its file holds, and start it with choices."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from django.contrib.auth.models import User

from crm.custom_fields import declared_fields
from crm.jobs import START_AUTOMATIONS, create_job, restart
from crm.models import Job, JobState
from transfers.columns import Kind, check_mapping, guess
from transfers.imports import contacts, events
from transfers.imports.files import Sample, inspect_upload, open_upload, sample
from transfers.options import ContactOptions, Options
from transfers.tables import FileForm

KIND_OF: Mapping[Kind, str] = {"contacts": contacts.KIND, "events": events.KIND}
OPTIONS: Mapping[Kind, type[Options]] = {"contacts": ContactOptions, "events": Options}


class Guess(NamedTuple):
    """What a file seems to be: its form, its first rows, and the target of each column."""

    form: FileForm
    sample: Sample
    mapping: dict[str, str]


def create_draft(kind: Kind, name: str, size: int, created_by: User | None) -> Job:
    """Create a job that waits for its file and for choices.

    Args:
        kind: what the file holds.
        name: what the file is called.
        size: its bytes, before which it is not read.
        created_by: the admin user, or None for an operator's command.
    """
    title, parameters = f"Import {kind} from {name}", {"file": name[:200], "size": size}
    return create_job(KIND_OF[kind], title, parameters, created_by=created_by, state=JobState.DRAFT)


def guess_file(job: Job, kind: Kind, form: FileForm | None = None) -> Guess:
    """Guess the form of a job's file, unless it is chosen, and its columns.

    Raises:
        UnreadableFile: the file has another format. The message is for admin users.
        JobError: the file is not here, or cannot be read as chosen.
    """
    form = form or inspect_upload(job)
    with open_upload(job, form) as table:
        found = sample(table)
    rows = [row.values for row in found.rows]
    return Guess(form, found, guess(found.columns, rows, kind, declared_fields()))


def start_import(
    job: Job,
    kind: Kind,
    guessed: Guess,
    values: Mapping[str, Any],
    rules: Mapping[str, Any],
    *,
    dry_run: bool,
    start_automations: bool = False,
) -> bool:
    """Start the job of an import. Returns whether it had not begun since it was read.

    Args:
        job: a draft, or an import that has ended.
        kind: what the file holds.
        guessed: its form, and the mapping that was chosen.
        values: how values are read, as JSON: the fields of ContactOptions or Options.
        rules: what is written, as JSON: the fields of ContactRules or EventRules.
        dry_run: whether everything is only counted.
        start_automations: whether automations start by what the import writes.

    Raises:
        InvalidFields: the mapping or an option is invalid.
    """
    OPTIONS[kind](**values)
    check_mapping(guessed.mapping, guessed.sample.columns, kind)
    parameters = {
        "file": job.parameters["file"],
        "form": asdict(guessed.form),
        "mapping": guessed.mapping,
        "values": values,
        "rules": rules,
        "dry_run": dry_run,
        START_AUTOMATIONS: start_automations,
    }
    verb = "Try to import" if dry_run else "Import"
    return restart(job, f"{verb} {kind} from {job.parameters['file']}", parameters)
