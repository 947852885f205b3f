"""What calls about automations require of an API client."""

from automations.rights import VIEW_EVENTS, VIEW_SEGMENTS
from crm.models import Scope
from crm.permissions import Access

CHANGE_CONTACTS = "crm.change_subscriber"
READ = Access(Scope.READ, "automations.view_automation")
# Steps change contacts, whoever they are.
ADD = Access(Scope.MANAGE, "automations.add_automation", CHANGE_CONTACTS)
CHANGE = Access(Scope.MANAGE, "automations.change_automation", CHANGE_CONTACTS)
# To pause is never a risk.
PAUSE = Access(Scope.MANAGE, "automations.change_automation")
DELETE = Access(Scope.MANAGE, "automations.delete_automation")
# A funnel is shown with its trigger.
READ_FUNNELS = Access(Scope.READ, "automations.view_automation", VIEW_EVENTS, VIEW_SEGMENTS)
# A run may tell what its contact did.
SEE_RUNS = ("automations.view_run", "crm.view_subscriber", VIEW_EVENTS)
READ_RUNS = Access(Scope.READ, *SEE_RUNS)
START_RUNS = Access(Scope.MANAGE, "automations.change_run", CHANGE_CONTACTS)
END_RUNS = Access(Scope.MANAGE, "automations.change_run")
