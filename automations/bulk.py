"""FluentCRM's bulk action that starts contacts: add_to_automation.

See FluentCRM's app/Http/Controllers/SubscriberController.php, handleBulkActions.
"""

from collections.abc import Sequence

from automations.models import Automation, AutomationStatus
from automations.starting import start_contacts
from config.api.errors import Unprocessable
from config.api.validation import is_valid_id
from crm.bulk_actions import BulkAction, BulkActionResult


def add_to_automation(contact_ids: Sequence[int], automation_id: str) -> BulkActionResult:
    """Start contacts by hand.

    Args:
        contact_ids: ids of the contacts.
        automation_id: the id in digits.

    Raises:
        Unprocessable: 422, the automation does not exist or is not published, or starts none of the
            contacts.
    """
    published = Automation.objects.filter(status=AutomationStatus.PUBLISHED)
    if not is_valid_id(automation_id) or not published.filter(pk=int(automation_id)).exists():
        raise Unprocessable("Invalid Automation Funnel ID")
    outcomes = start_contacts(contact_ids, int(automation_id))
    started = [contact for contact, outcome in outcomes.items() if outcome == "started"]
    if not started:
        raise Unprocessable("No valid active subscribers found for this funnel")
    message = f"{len(started)} subscribers has been attached to the selected automation funnel"
    return BulkActionResult(message, started)


ADD_TO_AUTOMATION = BulkAction(("automations.change_run",), add_to_automation)
