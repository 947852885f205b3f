from django.apps import AppConfig
from typing_extensions import override


class TransfersConfig(AppConfig):
    """Move contacts and events in from other programs, and out."""

    name = "transfers"
    verbose_name = "Imports and exports"

    @override
    def ready(self) -> None:
        from crm.jobs import register_kind
        from transfers.exports import EXPORT_CONTACTS, EXPORT_EVENTS
        from transfers.imports import contacts, events
        from transfers.sources import run

        register_kind("export_contacts", EXPORT_CONTACTS)
        register_kind("export_events", EXPORT_EVENTS)
        register_kind(contacts.KIND, contacts.IMPORT_CONTACTS)
        register_kind(events.KIND, events.IMPORT_EVENTS)
        register_kind(run.FLUENTCRM, run.IMPORT_SOURCE)
        register_kind(run.ACTIVECAMPAIGN, run.IMPORT_SOURCE)
