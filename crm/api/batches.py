"""Read contacts of a batch, and create or update them: together, and alone where need be.

Calls and imports share this. crm/batches.py has the writes of several contacts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.utils import timezone

from config.api.errors import FieldErrors, Forbidden, InvalidFields, InvalidJSON
from config.api.parsers import lower_names
from config.api.validation import validate
from config.api.warnings import Warnings
from config.database import in_transaction
from crm import contacts
from crm.api.changes import change_labels
from crm.api.fields import LABEL_FIELDS, contact_fields, with_values_of_slugs
from crm.api.rights import CHANGE, require_change
from crm.batches import MAX_TOGETHER, Draft, NotTogether, Rules, Written, write_together
from crm.custom_fields import Fields
from crm.filters.types import HasPerm

# What became of a contact of a batch.
Outcome = Written | InvalidFields | Forbidden


def read_draft(item: Any, declared: Callable[[], Fields]) -> Draft:
    """Validate one contact of a batch.

    Args:
        item: the contact as sent.
        declared: returns the definitions of custom fields.

    Raises:
        InvalidFields: a field is invalid, or the item is not JSON, or not an object.
    """
    if isinstance(item, InvalidJSON):
        raise InvalidFields({"contact": {"json": f"The contact is not JSON: {item.reason}."}})
    if not isinstance(item, Mapping):
        raise InvalidFields({"contact": {"object": "The contact must be an object."}})
    warnings: Warnings = []
    params = with_values_of_slugs(lower_names(item), declared)
    fields = contact_fields(params, warnings, required=("email",), declared=declared)
    labels = validate(LABEL_FIELDS, params, warnings=warnings)
    return Draft(fields, labels, warnings)


def add_or_update(
    drafts: Sequence[Draft], rules: Rules, has_perm: HasPerm, user_source: str = ""
) -> Iterator[Outcome]:
    """Create or update the contacts of a batch, in its order: together, and alone where need be.

    Args:
        drafts: the contacts.
        rules: the rules of `contacts.create_or_update`.
        has_perm: of the user.
        user_source: the source of their user_ids.

    Yields:
        The outcome of each, when it is committed.
    """
    may_change = all(map(has_perm, CHANGE.permissions))
    size = MAX_TOGETHER
    start = 0
    while start < len(drafts):
        following = drafts[start : start + size]
        try:
            written = write_together(following, rules, may_change, user_source)
            yield from written
            start += len(written)
            size = min(2 * size, MAX_TOGETHER)
        except NotTogether as error:
            if not error.position:
                alone = following[0]
                yield error.rejection or _outcome_alone(alone, rules, has_perm, user_source)
                start += 1
            # Short after an exception, because contacts that are alike often follow each other.
            size = error.position or 1


def _outcome_alone(draft: Draft, rules: Rules, has_perm: HasPerm, user_source: str) -> Outcome:
    try:
        return write_alone(draft, rules, has_perm, user_source)
    except (InvalidFields, Forbidden) as rejection:
        return rejection


@in_transaction
def write_alone(draft: Draft, rules: Rules, has_perm: HasPerm, user_source: str) -> Written:
    """Create or update one contact of a batch.

    A user_id that another contact has is ignored and reported if the contact exists, because an
    opt-out beside it has to be written.

    Raises:
        InvalidFields: another contact has the user_id of a new one, or the contact stays erased.
        Forbidden: the user may not change the contact, or not create one of the labels.
    """
    fields = {name: value for name, value in draft.fields.items() if name != "user_id"}
    # A list of each try, because a deadlock repeats this function.
    reported = [*draft.warnings]
    began = timezone.now()
    contact, created = contacts.create_or_update(
        fields, **rules._asdict(), warnings=reported, user_source=user_source
    )
    require_change(created, has_perm)
    is_changed = created or contact.updated_at >= began
    user_id = draft.fields.get("user_id")
    try:
        if user_id and rules.writes_user_id(created, contact.user_id):
            is_changed |= contacts.set_user_id(contact, user_id)
    except InvalidFields:
        if created:
            raise
        message = contacts.USER_ID_TAKEN["unique"]
        reported.append({"field": "user_id", "rule": "unique", "message": message})
    if rules.writes_labels(created):
        change_labels(contact, draft.labels, reported, has_perm)
        is_changed |= any(draft.labels.values())
    return Written(contact.id, contact.email, contact.status, created, is_changed, reported)


def errors_of(rejection: InvalidFields | Forbidden) -> FieldErrors:
    """Return the errors of a contact that was rejected, by field."""
    if isinstance(rejection, InvalidFields):
        return rejection.detail
    return {"contact": {"forbidden": str(rejection)}}
