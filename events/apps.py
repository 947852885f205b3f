from django.apps import AppConfig


class EventsConfig(AppConfig):
    """What contacts did."""

    name = "events"
    verbose_name = "Events"

    def ready(self) -> None:
        """Tell crm what to delete with a contact, and let the signal reach track()."""
        from crm.contacts import register_deleter
        from events import tracking
        from events.signals import track_event_activity

        register_deleter(tracking.delete_events_of)
        track_event_activity.connect(tracking.track_on_signal)
