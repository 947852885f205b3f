from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from crm.models import NewContacts
from transfers.import_command import ImportCommand


class Command(ImportCommand):
    """Import events from a file."""

    help = (
        "Import events from a CSV, an Excel file (xlsx) or NDJSON, each once, also when the file "
        "is imported again within 90 days. No automation is started."
    )
    kind = "events"

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--new-contacts",
            choices=NewContacts.values,
            default=NewContacts.NONE,
            help="what happens to events of unknown e-mails: rejected, or contacts of this status",
        )
        parser.add_argument(
            "--fast",
            action="store_true",
            help="write 20,000 rows together, for a store without traffic: tracking waits longer",
        )

    @override
    def rules(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return super().rules(options) | {
            "new_contacts": options["new_contacts"],
            "fast": options["fast"],
        }
