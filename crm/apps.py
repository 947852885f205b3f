from django.apps import AppConfig


class CrmConfig(AppConfig):
    """Contacts, and who may call."""

    name = "crm"
    verbose_name = "Contacts"
