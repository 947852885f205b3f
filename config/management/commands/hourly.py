import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from typing_extensions import override


class Command(BaseCommand):
    """Run settings.HOURLY_COMMANDS in one process, because each would import Django for itself."""

    help = "Delete what is old, and make the backup of today. `serve` runs it every hour."
    # `serve` has run them.
    requires_system_checks = ()

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        failed = False
        for name in settings.HOURLY_COMMANDS:
            try:
                call_command(name, stdout=self.stdout, stderr=self.stderr)
            except Exception as error:  # The others have nothing to do with it.
                failed = True
                self.stderr.write(f"{name}: {error}")
        if failed:
            sys.exit(1)
