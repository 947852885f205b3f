"""FluentCRM's two action hooks as Django signals."""

from django.dispatch import Signal

# Send it to track an event: `track_event_activity.send(sender, data={...}, repeatable=True)`. It
# raises the errors of events.tracking.track.
track_event_activity = Signal()

# Sent after the commit of a tracked event, with `event` (TrackedEvent) and `subscriber`
# (Subscriber). Without a receiver it costs nothing, and the contact is not even read.
event_tracked = Signal()
