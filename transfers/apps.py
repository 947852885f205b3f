from django.apps import AppConfig


class TransfersConfig(AppConfig):
    """Move contacts and events in from other programs, and out."""

    name = "transfers"
    verbose_name = "Imports and exports"
