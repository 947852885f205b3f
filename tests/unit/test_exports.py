"""events.exports: cells that no spreadsheet reads as a formula."""

import pytest

from events.exports import escape_formula


@pytest.mark.parametrize(
    "text",
    [
        *("", "Order placed", "a=1", "a-b", "ada@example.com", "1+1", "ä", "'=1"),
        *("5", "-5", "+5", "-1.5", "+1.5e-10", "1E5"),
        *("a; b", "a\nb", "a\tb", "#1", "(1)", "€ 5", "a;5"),
    ],
)
def test_texts_and_plain_numbers_stay(text: str) -> None:
    assert escape_formula(text) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("=", "'="),
        ("-", "'-"),
        ("-5 %", "'-5 %"),
        ("--5", "'--5"),
        ("+49 30 1234", "'+49 30 1234"),
    ],
)
def test_a_formula_gets_an_apostrophe(text: str, cell: str) -> None:
    assert escape_formula(text) == cell


@pytest.mark.parametrize("sign", ["＝", "＋", "－", "＠"])  # noqa: RUF001
def test_a_full_width_sign_begins_a_formula_as_well(sign: str) -> None:
    assert escape_formula(f"{sign}1") == f"'{sign}1"


@pytest.mark.parametrize(
    "invisible",
    [" ", "  ", "\u00a0", "\u200b", "\u200e", "\u202e", "\ufeff", "\0", "\x1b", "\u2028"],
)
def test_invisible_characters_do_not_hide_a_formula(invisible: str) -> None:
    assert escape_formula(f"{invisible}=1") == f"'{invisible}=1"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a;=1", "a;'=1"),
        ("a; =1;@b", "a;' =1;'@b"),
        ("a\n=1", "a\n'=1"),
        ("a\r\n=1", "a\r\n'=1"),
        ("a\t=1", "a\t'=1"),
        ("=1;=2", "'=1;'=2"),
        ("a;-5", "a;'-5"),
    ],
)
def test_a_formula_after_a_separator_gets_an_apostrophe(text: str, cell: str) -> None:
    assert escape_formula(text) == cell


@pytest.mark.parametrize(
    ("text", "cell"), [("\ta", "'\ta"), ("\ra", "'\ra"), ("\na", "'\na"), ("\t=1", "'\t'=1")]
)
def test_a_text_that_begins_with_a_tab_or_line_end_gets_an_apostrophe(text: str, cell: str) -> None:
    assert escape_formula(text) == cell
