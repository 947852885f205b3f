from django.apps import AppConfig


class AutomationsConfig(AppConfig):
    """Start steps when a contact does something, and run each step once."""

    name = "automations"
    verbose_name = "Automations"
