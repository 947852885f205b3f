"""Hold automations when a backup replaces a store, because time and the world went on."""

from collections.abc import Iterator

from automations.writing import pause_all

REASON = "A backup was restored. Look at the contacts inside, then resume it."


def pause_restored(_: object) -> Iterator[str]:
    """Pause all automations of the restored store.

    Args:
        _: a connection to the old store.

    Yields:
        What the operator has to read.
    """
    if number := pause_all(REASON):
        yield f"Automations that are paused: {number}. Resume them in the admin when you want."
