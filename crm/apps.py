from django.apps import AppConfig
from typing_extensions import override


class CrmConfig(AppConfig):
    """Contacts, their labels and segments, and API clients."""

    name = "crm"
    verbose_name = "Contacts"

    @override
    def ready(self) -> None:
        from django.contrib.auth.models import User
        from django.db.models.signals import pre_delete

        from crm.bulk_changes import CHANGE_CONTACTS
        from crm.bulk_changes import KIND as CHANGE_CONTACTS_KIND
        from crm.bulk_columns import delete_values_of
        from crm.contacts import register_deleter
        from crm.filters import register_provider
        from crm.filters.contacts import SEGMENT, SUBSCRIBER
        from crm.filters.custom_fields import CUSTOM_FIELDS
        from crm.jobs import register_kind, stop_jobs_of
        from crm.notes import count_notes_of, delete_notes_of

        register_provider("subscriber", SUBSCRIBER)
        register_provider("segment", SEGMENT)
        register_provider("custom_fields", CUSTOM_FIELDS)
        register_kind(CHANGE_CONTACTS_KIND, CHANGE_CONTACTS)
        register_deleter(delete_notes_of, count_notes_of)
        register_deleter(delete_values_of, lambda _: {})
        pre_delete.connect(lambda instance, **_: stop_jobs_of(instance), sender=User, weak=False)
