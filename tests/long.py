"""The mark of tests that take so long that `make test-long` alone runs them."""

import pytest

long = pytest.mark.skipif(
    "config.getoption('--hypothesis-profile') != 'long'",
    reason="It takes long, so only make test-long runs it.",
)
