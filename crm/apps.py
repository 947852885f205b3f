from django.apps import AppConfig


class CrmConfig(AppConfig):
    """Contacts, and who may call."""

    name = "crm"
    verbose_name = "Contacts"

    def ready(self) -> None:
        """Tell the filters what can be asked of a contact."""
        from crm.filters import register_provider
        from crm.filters.contacts import SEGMENT, SUBSCRIBER

        register_provider("subscriber", SUBSCRIBER)
        register_provider("segment", SEGMENT)
