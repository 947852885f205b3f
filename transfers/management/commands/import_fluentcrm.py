from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from crm.identities import source_argument
from transfers.source_command import SourceCommand
from transfers.sources import run
from transfers.sources.openers import MYSQL


class Command(SourceCommand):
    """Import a FluentCRM."""

    help = (
        "Import contacts, tags, lists, custom fields, notes and events of a FluentCRM, from its "
        "REST API or its database. Run it again for what is new. The password is that of the "
        "environment variable FLUENTCRM_PASSWORD, or is asked."
    )
    kind = run.FLUENTCRM
    variable = "FLUENTCRM_PASSWORD"
    question = "Password at the source: "

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--user", default="", metavar="U", help="the WordPress user of the application password"
        )
        parser.add_argument(
            "--prefix", default="wp_", metavar="P", help="of the tables in mysql://USER@HOST/DB"
        )
        parser.add_argument(
            "--user-source",
            type=source_argument,
            default="",
            metavar="S",
            help="whose ids the ids of WordPress's users are, as application passwords name it",
        )

    @override
    def parameters(self, options: Mapping[str, Any]) -> dict[str, Any]:
        if not options["user"] and not options["url"].startswith(MYSQL):
            raise CommandError("--user is missing: the user of the application password.")
        own = {name: options[name] for name in ("user", "prefix", "user_source")}
        return super().parameters(options) | own
