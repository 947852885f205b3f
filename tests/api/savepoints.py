"""Work inside a test's transaction that is undone before the test ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction


@contextmanager
def rolled_back() -> Iterator[None]:
    """Run a block in a savepoint, or in a transaction, and roll it back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
