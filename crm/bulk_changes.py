"""Change many contacts with a record of it, and undo exactly what was changed."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User

from config.api.errors import InvalidFields
from config.database import fetch_one, in_transaction
from crm.attachments import Pair, attach, detach
from crm.bulk_columns import BulkColumn, Kept, set_column, set_custom_value, undo_column
from crm.jobs import JobError, JobKind, Progress, Run, create_job
from crm.labels import LABEL_MODELS, LabelKind
from crm.models import BulkChange, Job, JobState

KIND = "change_contacts"
PERMISSIONS = ("crm.view_job", "crm.change_subscriber")
SHOWN_TITLES = 3
ADD_UP = """
UPDATE crm_job
SET done = done + %(number)s, counts = jsonb_build_object('changes', done + %(number)s)
WHERE id = %(job)s RETURNING done
"""


class AlreadyUndone(Exception):
    """The change was undone before, or has changed nothing."""


def create_label_change(
    kind: LabelKind, is_attached: bool, label_ids: Sequence[int], contacts: int, created_by: User
) -> Job:
    """Create the record of a change that a request makes by `change_labels`.

    Args:
        kind: "tags" or "lists".
        is_attached: whether the labels are attached, and not detached.
        label_ids: ids of the labels.
        contacts: how many contacts are meant.
        created_by: the user.
    """
    labels = LABEL_MODELS[kind].objects.filter(pk__in=label_ids).values_list("title", flat=True)
    titles = [f"“{title}”" for title in labels[: SHOWN_TITLES + 1]]
    if len(titles) > SHOWN_TITLES:
        titles[SHOWN_TITLES] = "others"
    verb, to = ("Add", "to") if is_attached else ("Remove", "from")
    return _create(f"{verb} {kind} {', '.join(titles)} {to} {_contacts(contacts)}", created_by)


def _create(title: str, created_by: User) -> Job:
    return create_job(KIND, title, {}, created_by=created_by, state=JobState.DONE)


def _contacts(number: int) -> str:
    return f"{number:,} contact{'' if number == 1 else 's'}"


@in_transaction
def change_column(
    column: BulkColumn,
    value: str,
    contact_ids: Sequence[int],
    keep_opt_outs: bool,
    created_by: User,
) -> tuple[Job, Kept]:
    """Set a column of several contacts, as `set_column`.

    Returns:
        The record, and the ids of contacts that kept their status.

    Raises:
        ValueError: an unknown status.
    """
    to = "" if column == "avatar" else f" to “{value}”"
    title = f"Set the {column.replace('_', ' ')} of {_contacts(len(contact_ids))}{to}"
    job = _create(title, created_by)
    number, kept = set_column(contact_ids, column, value, keep_opt_outs, job.pk)
    _add_up(job, number)
    return job, kept


@in_transaction
def change_custom_value(key: str, value: Any, contact_ids: Sequence[int], created_by: User) -> Job:
    """Set a custom value of several contacts, as `set_custom_value`. Returns the record.

    Raises:
        InvalidFields: 422, as `set_custom_value`.
    """
    job = _create(f"Set the custom value “{key}” of {_contacts(len(contact_ids))}", created_by)
    _add_up(job, set_custom_value(contact_ids, key, value, job.pk))
    return job


def _add_up(job: Job, number: int) -> None:
    job.done = fetch_one(ADD_UP, {"job": job.pk, "number": number})[0]


@in_transaction
def change_labels(
    job: Job,
    kind: LabelKind,
    is_attached: bool,
    contact_ids: Sequence[int],
    label_ids: Sequence[int],
) -> int:
    """Attach or detach labels, and store in the job's record what has changed.

    Returns:
        The number of attachments that are new or gone.

    Raises:
        InvalidFields: 422, a contact gets a label and has more than 500 of the kind then.
    """
    pairs = (attach if is_attached else detach)(kind, contact_ids, label_ids)
    _store(job, kind, is_attached, pairs)
    _add_up(job, len(pairs))
    return len(pairs)


def _store(job: Job, kind: LabelKind, is_attached: bool, pairs: Sequence[Pair]) -> None:
    contacts_of: dict[int, list[int]] = defaultdict(list)
    for contact_id, label_id in pairs:
        contacts_of[label_id].append(contact_id)
    BulkChange.objects.bulk_create(
        BulkChange(
            job=job,
            field=kind,
            before=None if is_attached else label_id,
            after=label_id if is_attached else None,
            contact_ids=ids,
        )
        for label_id, ids in contacts_of.items()
    )


@in_transaction
def undo_change(job: Job, created_by: User) -> Job:
    """Create a job that undoes a change, which can be undone in its turn.

    Contacts that had a label before an addition keep it. So do contacts whose column was written
    since.

    Raises:
        AlreadyUndone: another job does or did so, or nothing was changed.
    """
    locked = Job.objects.select_for_update().get(pk=job.pk)
    if "undone_by" in locked.parameters or not locked.changes.exists():
        raise AlreadyUndone
    undo = create_job(KIND, f"Undo: {job.title}", {"undo_of": job.pk}, created_by=created_by)
    locked.parameters["undone_by"] = undo.pk
    locked.save(update_fields=["parameters"])
    return undo


def run_undo(run: Run) -> None:
    """Undo the steps of a change, the last one first."""
    changes = BulkChange.objects.filter(job_id=run.job.parameters["undo_of"])

    def step(progress: Progress) -> Progress:
        before = progress.position.get("before")
        rows = changes.filter(pk__lt=before) if before else changes
        change = rows.order_by("-pk").first()
        if change is None:
            return progress._replace(position={"before": 0})
        try:
            number = _undo(change, run.job)
        except InvalidFields as error:
            raise JobError(next(iter(error.detail[change.field].values()))) from None
        done = progress.done + number
        left_out = progress.counts.get("left_out", 0) + len(change.contact_ids) - number
        counts = {"changes": done} | ({"left_out": left_out} if left_out else {})
        return Progress(done, None, {"before": change.pk}, counts)

    while run.progress.position.get("before") != 0:
        run.step(step)


def _undo(change: BulkChange, job: Job) -> int:
    """Undo a step. Returns how many contacts it has changed."""
    if change.field not in LABEL_MODELS:
        return undo_column(change, job.pk)
    kind: LabelKind = "tags" if change.field == "tags" else "lists"
    label_id: Any = change.after or change.before
    is_attached, undo = (False, detach) if change.after else (True, attach)
    pairs = undo(kind, change.contact_ids, [label_id])
    _store(job, kind, is_attached, pairs)
    return len(pairs)


CHANGE_CONTACTS = JobKind(run_undo, PERMISSIONS)
