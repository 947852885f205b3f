"""config.database: chunks of ids."""

import pytest

from config.database import chunked


@pytest.mark.parametrize(
    ("ids", "chunks"),
    [
        ([], []),
        ([1], [[1]]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([1, 2, 3, 4], [[1, 2, 3], [4]]),
        ([6, 5, 4, 3, 2, 1], [[6, 5, 4], [3, 2, 1]]),
    ],
)
def test_ids_are_split_into_chunks_in_their_order(ids: list[int], chunks: list[list[int]]) -> None:
    assert list(chunked(ids, 3)) == chunks
