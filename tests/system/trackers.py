"""Clients that track without a pause, and retry until each event is answered with 2xx."""

import http.client
import threading
import time

from typing_extensions import override

from tests.system.server import API, Server, wait_until

PAUSE_SECONDS = 0.05


class Tracker(threading.Thread):
    """A client whose events have a title each, so that each counter has to be 1."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.client = server.client()
        self.stopping = False
        self.answered: list[str] = []
        # Titles of events of which an attempt had no response, so that it may have counted.
        self.unsure: set[str] = set()

    @override
    def run(self) -> None:
        while not self.stopping:
            title = f"{self.name}-{len(self.answered)}"
            while not self._is_answered(title):
                time.sleep(PAUSE_SECONDS)
            self.answered.append(title)

    def _is_answered(self, title: str) -> bool:
        event = {"event_key": "load", "title": title, "email": "ada@example.com"}
        path, headers = f"{API}/subscribers/track-event", {"Idempotency-Key": title}
        try:
            return self.client("POST", path, event, headers=headers).status == 200
        except ConnectionRefusedError:
            return False
        except (OSError, http.client.HTTPException):
            self.unsure.add(title)
            return False


def start_trackers(server: Server, number: int) -> list[Tracker]:
    """Let clients track."""
    trackers = [Tracker(server, f"client {each}") for each in range(number)]
    for tracker in trackers:
        tracker.start()
    return trackers


def wait_for_events(trackers: list[Tracker], number: int) -> None:
    """Wait until each client has got a number of further responses."""
    goals = [len(tracker.answered) + number for tracker in trackers]
    wait_until(
        lambda: all(
            len(tracker.answered) >= goal for tracker, goal in zip(trackers, goals, strict=True)
        ),
        60,
    )


def stop_trackers(trackers: list[Tracker]) -> list[str]:
    """Stop the clients after the events that they send now. Return the titles of all events."""
    for tracker in trackers:
        tracker.stopping = True
    for tracker in trackers:
        tracker.join(60)
        assert not tracker.is_alive()
        tracker.client.close()
    return [title for tracker in trackers for title in tracker.answered]
