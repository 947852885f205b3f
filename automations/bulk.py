"""FluentCRM's bulk action that starts contacts: add_to_automation.

See FluentCRM's app/Http/Controllers/SubscriberController.php, handleBulkActions.
"""

from collections.abc import Sequence

from automations.models import Automation, AutomationStatus
from automations.rights import START_RUNS, require_writing
from automations.starting import start_contacts
from automations.writing import document_of
from config.api.errors import Unprocessable
from config.api.validation import is_valid_id
from crm.bulk_actions import BulkAction, BulkActionResult
from crm.filters.types import HasPerm


def add_to_automation(
    contact_ids: Sequence[int], automation_id: str, has_perm: HasPerm
) -> BulkActionResult:
    """Start contacts by hand.

    Args:
        contact_ids: ids of the contacts.
        automation_id: the id in digits.
        has_perm: tells what the user may have done.

    Raises:
        Forbidden: 403.
        Unprocessable: 422, the automation does not exist or is not published, or starts none of the
            contacts.
    """
    published = Automation.objects.filter(status=AutomationStatus.PUBLISHED)
    id_ = int(automation_id) if is_valid_id(automation_id) else 0
    automation = published.select_related("version").filter(pk=id_).first()
    if automation is None:
        raise Unprocessable("Invalid Automation Funnel ID")
    require_writing(document_of(automation), has_perm)
    outcomes = start_contacts(contact_ids, automation.pk)
    started = [contact for contact, outcome in outcomes.items() if outcome == "started"]
    if not started:
        raise Unprocessable("No valid active subscribers found for this funnel")
    message = f"{len(started)} subscribers has been attached to the selected automation funnel"
    return BulkActionResult(message, started)


ADD_TO_AUTOMATION = BulkAction(START_RUNS, add_to_automation)
