"""Work that several threads do at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_threads(number: int, work: Callable[[int], T]) -> list[T]:
    """Run `work(0)` to `work(number - 1)` at the same time and return their results in order."""
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(work, range(number)))
