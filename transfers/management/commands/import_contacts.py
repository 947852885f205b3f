from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from crm.labels import LABEL_MODELS
from crm.models import Status
from transfers.import_command import ImportCommand


class Command(ImportCommand):
    """Import contacts from a file."""

    help = (
        "Import contacts from a CSV, an Excel file (xlsx) or NDJSON. Who opted out or was erased "
        "stays so."
    )
    kind = "contacts"

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--existing",
            choices=("skip", "fill", "overwrite"),
            default="fill",
            help="what is written to contacts that are there: nothing, empty fields, or all",
        )
        parser.add_argument(
            "--status",
            choices=Status.values,
            default=Status.PENDING,
            help="of contacts in a file without a status; pending by default",
        )
        parser.add_argument("--separator", default=",", metavar="S", help="between two tags")
        parser.add_argument("--tag", action="append", default=[], metavar="T", help="all get it")
        parser.add_argument("--list", action="append", default=[], metavar="L", help="all get it")
        parser.add_argument(
            "--resubscribe",
            action="store_true",
            help="subscribe also who opted out or was erased, as the file says",
        )

    @override
    def values(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return super().values(options) | {
            "status": options["status"],
            "separator": options["separator"],
            "tags": options["tag"],
            "lists": options["list"],
        }

    @override
    def rules(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return super().rules(options) | {
            "existing": options["existing"],
            "resubscribe": options["resubscribe"],
            "create": list(LABEL_MODELS),
        }
