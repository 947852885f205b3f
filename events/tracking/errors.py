"""The errors of events that could not be tracked."""

from config.api.errors import ApiError


class TrackingError(ApiError):
    """422: an event that could not be tracked. `code` is FluentCRM's error_code.

    See FluentCRM's app/Http/Controllers/SubscriberController.php, trackEvent.
    """

    status_code = 422
    code: str
    message: str

    def __init__(self) -> None:
        super().__init__({"message": self.message, "error_code": self.code})


class NotEnabled(TrackingError):
    """Tracking is switched off."""

    code = "not_enabled"
    message = "Event Tracker is not enabled"


class SubscriberNotFound(TrackingError):
    """The event names a contact that does not exist."""

    code = "subscriber_not_found"
    message = "Subscriber not found"


class CurrentSubscriberNotFound(SubscriberNotFound):
    """The event names no contact, and the calling user is none."""

    message = "Current Subscriber could not be found"


class IdempotencyMismatch(TrackingError):
    """The idempotency key was used before, with other content."""

    code = "idempotency_mismatch"
    message = "This idempotency key was used before with other content"
