"""Which rule a validator names when it rejects a value."""

from typing import Any

import pytest

from config.api.validation import InvalidValue, Validator


def rejection(validator: Validator, value: Any) -> dict[str, str]:
    """Return the rule and the message with which a validator rejects a value of `field`."""
    with pytest.raises(InvalidValue) as raised:
        validator(value)
    return raised.value.for_field("field")


def rule(validator: Validator, value: Any) -> str:
    """Return the rule by which a validator rejects a value."""
    return next(iter(rejection(validator, value)))
