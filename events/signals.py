"""FluentCRM's two action hooks, as Django signals."""

from django.dispatch import Signal

# Send it to track: `track_event_activity.send(sender, data={...}, repeatable=True)`.
# A refusal is raised where it was sent: the errors of events.tracking.track.
track_event_activity = Signal()

# Sent once a tracked event is committed, with `event` (TrackedEvent) and `subscriber`
# (Subscriber). Nobody listening costs nothing: the contact is not even read.
event_tracked = Signal()
