from django.apps import AppConfig
from typing_extensions import override


class AutomationsConfig(AppConfig):
    """Start steps when a contact does something, and do each step once."""

    name = "automations"
    verbose_name = "Automations"

    @override
    def ready(self) -> None:
        from automations import upkeep
        from automations.bulk import ADD_TO_AUTOMATION
        from automations.webhooks import deliveries
        from automations.writing import pause_users_of
        from crm.bulk_actions import register_bulk_action
        from crm.contacts import register_deleter
        from crm.label_deletion import register_listener
        from crm.merge_plans import register_merger
        from events.personal_data import Part, register_part, register_replacer

        register_bulk_action("add_to_automation", ADD_TO_AUTOMATION)
        register_listener(pause_users_of)
        register_deleter(upkeep.delete_runs_of, upkeep.count_runs_of)
        register_deleter(deliveries.delete_deliveries_of, deliveries.count_deliveries_of)
        register_merger(upkeep.move_runs, upkeep.count_moved)
        register_merger(deliveries.move_deliveries, deliveries.count_moved_deliveries)
        register_replacer("automations", upkeep.replace_email)
        register_part("automations", Part(upkeep.count_runs_of, upkeep.own_runs))
        register_part("webhooks", Part(deliveries.count_deliveries_of, upkeep.own_deliveries))
