"""What the endpoints of automations and of FluentCRM's funnels have in common."""

from collections.abc import Callable
from typing import TypeVar

from typing_extensions import override

from automations.models import Automation
from automations.rights import require_no_user_ids, require_writing
from automations.writing import document_of
from config.api.errors import ObjectNotFound
from config.api.routers import ID_REGEX
from config.api.viewsets import ApiViewSet
from config.database import in_transaction
from crm.permissions import user_source_of

Result = TypeVar("Result")


def find_automation(automation_id: int, noun: str) -> Automation:
    """Return an automation with its version.

    Raises:
        ObjectNotFound: 404, whose message has the noun.
    """
    automation = Automation.objects.select_related("version").filter(pk=automation_id).first()
    if automation is None:
        raise ObjectNotFound(noun)
    return automation


class BaseAutomationViewSet(ApiViewSet):
    """Endpoints whose URL names an automation."""

    noun = "Automation"
    lookup_url_kwarg = "automation_id"
    lookup_value_regex = ID_REGEX
    queryset = Automation.objects.all()

    @override
    def get_object(self) -> Automation:
        return find_automation(self.url_id, self.noun)

    def found(self, work: Callable[[], Result]) -> Result:
        """Do what requires that the automation exists.

        Raises:
            ObjectNotFound: 404, it was deleted meanwhile.
        """
        try:
            return work()
        except Automation.DoesNotExist:
            raise ObjectNotFound(self.noun) from None

    def write(self, write: Callable[[], Automation]) -> Automation:
        """Write an automation whose document the user may have done, or nothing.

        Raises:
            Forbidden: 403.
            InvalidFields: 422, the document asks for user_ids of another source.
            ObjectNotFound: 404.
        """

        @in_transaction
        def checked() -> Automation:
            automation = write()
            require_writing(document_of(automation), self.request.user.has_perm)
            require_no_user_ids(document_of(automation), user_source_of(self.request))
            return automation

        return self.found(checked)
