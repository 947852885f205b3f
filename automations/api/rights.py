"""What calls about automations require of an API client."""

from automations.rights import (
    CHANGE_CONTACTS,
    DRY_RUN,
    SEE_RUNS,
    START_RUNS,
    VIEW_EVENTS,
    VIEW_SEGMENTS,
)
from crm.models import Scope
from crm.permissions import Access

READ = Access(Scope.READ, "automations.view_automation")
ADD = Access(Scope.MANAGE, "automations.add_automation", CHANGE_CONTACTS)
CHANGE = Access(Scope.MANAGE, "automations.change_automation", CHANGE_CONTACTS)
# To pause is never a risk.
PAUSE = Access(Scope.MANAGE, "automations.change_automation")
DELETE = Access(Scope.MANAGE, "automations.delete_automation")
# A funnel is shown with its trigger.
READ_FUNNELS = Access(Scope.READ, "automations.view_automation", VIEW_EVENTS, VIEW_SEGMENTS)
READ_RUNS = Access(Scope.READ, *SEE_RUNS)
# A run of a funnel is shown with its funnel.
READ_FUNNEL_RUNS = Access(READ_FUNNELS.scope, *READ_FUNNELS.permissions, *SEE_RUNS)
START = Access(Scope.MANAGE, *START_RUNS)
TRY = Access(Scope.MANAGE, *DRY_RUN)
END_RUNS = Access(Scope.MANAGE, "automations.change_run")
