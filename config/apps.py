from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created
from typing_extensions import override

from config.database import register_datetime_loader
from config.environment import unknown_variables
from config.json_log import time_statements

ENVIRONMENT = "environment"


class TallybookConfig(AppConfig):
    """What all apps share."""

    name = "config"

    @override
    def ready(self) -> None:
        checks.register(check_variables, ENVIRONMENT)
        connection_created.connect(register_datetime_loader)
        connection_created.connect(time_statements)


def check_variables(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001
    **kwargs: Any,  # noqa: ARG001
) -> list[checks.CheckMessage]:
    """Warn of each variable that has no effect, as a system check of every command."""
    return [checks.Warning(sentence, id="tallybook.W001") for sentence in unknown_variables()]
