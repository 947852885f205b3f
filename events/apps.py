from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from typing_extensions import override


class TallybookAdminConfig(admin_apps.SimpleAdminConfig):
    """Django's admin with the site of Tallybook.

    config/urls.py loads the modules of its pages, because commands and jobs do without them.
    """

    default = False  # EventsConfig is the default of this package
    default_site = "events.site.TallybookAdminSite"


class EventsConfig(AppConfig):
    """What contacts did."""

    default = True
    name = "events"
    verbose_name = "Events"

    @override
    def ready(self) -> None:
        from crm.contacts import register_deleter
        from crm.filters import register_provider
        from crm.filters.query import register_query_filter_set
        from crm.jobs import register_kind
        from crm.merge_plans import register_merger
        from events import tracking
        from events.filters import EVENT_TRACKING
        from events.filters.query import EventQueryFilterSet
        from events.signals import track_event_activity
        from events.tracking.merging import count_moved, move_events
        from events.tracking.take_back_jobs import KIND, TAKE_BACK

        register_deleter(tracking.delete_events_of, tracking.count_events_of)
        register_kind(KIND, TAKE_BACK)
        register_merger(move_events, count_moved)
        register_provider("event_tracking", EVENT_TRACKING)
        register_query_filter_set(EventQueryFilterSet)
        track_event_activity.connect(tracking.track_on_signal)
