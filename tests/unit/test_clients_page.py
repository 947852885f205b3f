"""The reference of real programs."""

from tools.clients import PAGE, page


def test_the_reference_of_programs_has_the_calls_of_the_files() -> None:
    assert PAGE.read_text() == page(), "Run python -m tools.clients."
