from django.apps import AppConfig
from typing_extensions import override


class AutomationsConfig(AppConfig):
    """Start steps when a contact does something, and run each step once."""

    name = "automations"
    verbose_name = "Automations"

    @override
    def ready(self) -> None:
        from automations.webhooks import deliveries
        from crm.contacts import register_deleter
        from crm.merge_plans import register_merger

        register_deleter(deliveries.delete_deliveries_of, deliveries.count_deliveries_of)
        register_merger(deliveries.move_deliveries, deliveries.count_moved_deliveries)
