"""Reading of what PHP's serialize() writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfers.sources.php import NotSerialized, maybe_unserialize, unserialize


def serialize(value: object) -> str:
    """Write a value as PHP does."""
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, float):
        return f"d:{value!r};"
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    items = enumerate(value) if isinstance(value, list) else value.items()  # type: ignore[attr-defined]
    body = "".join(serialize(key) + serialize(item) for key, item in items)
    return f"a:{len(value)}:{{{body}}}"  # type: ignore[arg-type]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text("abc"), each, min_size=1),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_is_read_back(value: object) -> None:
    assert unserialize(serialize(value).encode()) == value


@given(VALUES, st.integers(0, 300))
def test_a_truncated_text_is_no_value(value: object, length: int) -> None:
    data = serialize(value).encode()
    if length < len(data):
        with pytest.raises(NotSerialized):
            unserialize(data[:length])


@pytest.mark.parametrize(
    "text",
    [
        'O:3:"Foo":0:{}',
        'a:1:{i:0;O:3:"Foo":0:{}}',
        "R:1;",
        "a:1:{d:1.5;i:0;}",
        's:3:"abcd";',
        "i:1;i:2;",
        "i:x;",
        "a:1:{" * 60,
        "",
    ],
)
def test_other_texts_are_no_value(text: str) -> None:
    with pytest.raises(NotSerialized):
        unserialize(text.encode())


def test_an_array_with_gaps_has_keys() -> None:
    assert unserialize(b'a:2:{i:0;s:1:"a";i:2;s:1:"b";}') == {"0": "a", "2": "b"}


@pytest.mark.parametrize("text", ["", "plain", "a:b", 's:9:"short";', "i:"])
def test_a_text_that_is_not_serialized_stays(text: str) -> None:
    assert maybe_unserialize(text) == text
