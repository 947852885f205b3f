"""Delete tags and lists. A segment that uses one would answer otherwise without it."""

from collections.abc import Callable, Iterable, Mapping

from config.database import in_transaction
from crm.labels import LABEL_MODELS, LabelKind
from crm.models import Segment
from crm.segments import segments_using

# Are called with the kind and the titles by id of labels that are deleted.
_listeners: list[Callable[[LabelKind, Mapping[int, str]], None]] = []


def register_listener(deleted: Callable[[LabelKind, Mapping[int, str]], None]) -> None:
    """Register what another app does when labels are deleted, in the same transaction."""
    _listeners.append(deleted)


class LabelsInUse(Exception):
    """Segments use the tags or lists, which were not deleted."""

    def __init__(self, segments: list[Segment]) -> None:
        super().__init__([segment.title for segment in segments])
        self.segments = segments


@in_transaction
def delete_labels(kind: LabelKind, label_ids: Iterable[int], force: bool = False) -> list[Segment]:
    """Delete labels, which detaches them from their contacts.

    The labels are locked first. A segment that is saved at the same time waits, and then names a
    label that does not exist, or it is found here.

    Args:
        kind: tags or lists.
        label_ids: their ids.
        force: whether labels that segments use are deleted as well.

    Returns:
        The segments that used them. Reading their contacts is an error until they are changed.

    Raises:
        LabelsInUse: segments use them, and `force` is false.
    """
    rows = LABEL_MODELS[kind].objects.filter(id__in=list(label_ids)).order_by("id")
    titles = {label.id: label.title for label in rows.select_for_update()}
    segments = segments_using(kind, titles)
    if segments and not force:
        raise LabelsInUse(segments)
    # So that errors of the segments name them.
    names = {str(label_id): title for label_id, title in titles.items()}
    used_by = Segment.objects.filter(id__in=[segment.id for segment in segments]).order_by("id")
    for segment in used_by.defer("filters").select_for_update():
        segment.deleted_labels[kind] = {**segment.deleted_labels.get(kind, {}), **names}
        segment.save(update_fields=["deleted_labels"])
    LABEL_MODELS[kind].objects.filter(id__in=titles).delete()
    for deleted in _listeners:
        deleted(kind, titles)
    return segments
