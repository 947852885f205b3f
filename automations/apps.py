from django.apps import AppConfig
from typing_extensions import override


class AutomationsConfig(AppConfig):
    """Start steps when a contact does something, and do each step once."""

    name = "automations"
    verbose_name = "Automations"

    @override
    def ready(self) -> None:
        from automations.upkeep import count_moved, count_runs_of, delete_runs_of, move_runs
        from crm.contacts import register_deleter
        from crm.merge_plans import register_merger

        register_deleter(delete_runs_of, count_runs_of)
        register_merger(move_runs, count_moved)
