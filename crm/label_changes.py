"""Attach and detach tags and lists of many contacts, and undo exactly what was changed."""

from collections import defaultdict
from collections.abc import Sequence

from django.contrib.auth.models import User

from config.api.errors import InvalidFields
from config.database import fetch_one, in_transaction
from crm.attachments import Pair, attach, detach
from crm.jobs import JobError, JobKind, Progress, Run, create_job
from crm.labels import LABEL_MODELS, LabelKind
from crm.models import Job, JobState, LabelChange

KIND = "change_labels"
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
    noun = "contact" if contacts == 1 else "contacts"
    title = f"{verb} {kind} {', '.join(titles)} {to} {contacts:,} {noun}"
    return create_job(KIND, title, {}, created_by=created_by, state=JobState.DONE)


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
    fetch_one(ADD_UP, {"job": job.pk, "number": len(pairs)})
    return len(pairs)


def _store(job: Job, kind: LabelKind, is_attached: bool, pairs: Sequence[Pair]) -> None:
    contacts_of: dict[int, list[int]] = defaultdict(list)
    for contact_id, label_id in pairs:
        contacts_of[label_id].append(contact_id)
    LabelChange.objects.bulk_create(
        LabelChange(job=job, kind=kind, label_id=label_id, is_attached=is_attached, contact_ids=ids)
        for label_id, ids in contacts_of.items()
    )


@in_transaction
def undo_label_change(job: Job, created_by: User) -> Job:
    """Create a job that undoes a change, which can be undone in its turn.

    Contacts that had a label before an addition keep it.

    Raises:
        AlreadyUndone: another job does or did so, or nothing was changed.
    """
    locked = Job.objects.select_for_update().get(pk=job.pk)
    if "undone_by" in locked.parameters or not locked.label_changes.exists():
        raise AlreadyUndone
    undo = create_job(KIND, f"Undo: {job.title}", {"undo_of": job.pk}, created_by=created_by)
    locked.parameters["undone_by"] = undo.pk
    locked.save(update_fields=["parameters"])
    return undo


def run_undo(run: Run) -> None:
    """Undo the steps of a change, the last one first."""
    changes = LabelChange.objects.filter(job_id=run.job.parameters["undo_of"])

    def step(progress: Progress) -> Progress:
        before = progress.position.get("before")
        rows = changes.filter(pk__lt=before) if before else changes
        change = rows.order_by("-pk").first()
        if change is None:
            return progress._replace(position={"before": 0})
        kind: LabelKind = "tags" if change.kind == "tags" else "lists"
        undo = detach if change.is_attached else attach
        try:
            pairs = undo(kind, change.contact_ids, [change.label_id])
        except InvalidFields as error:
            raise JobError(error.detail[kind]["max"]) from None
        _store(run.job, kind, not change.is_attached, pairs)
        done = progress.done + len(pairs)
        return Progress(done, None, {"before": change.pk}, {"changes": done})

    while run.progress.position.get("before") != 0:
        run.step(step)


CHANGE_LABELS = JobKind(run_undo, PERMISSIONS)
