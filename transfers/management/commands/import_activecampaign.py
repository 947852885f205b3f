from transfers.source_command import SourceCommand
from transfers.sources import run


class Command(SourceCommand):
    """Import an ActiveCampaign."""

    help = (
        "Import contacts, tags, lists, custom fields, notes and tracking logs of an ActiveCampaign "
        "from its API, version 3. Run it again for what is new. The token is that of the "
        "environment variable ACTIVECAMPAIGN_TOKEN, or is asked."
    )
    kind = run.ACTIVECAMPAIGN
    variable = "ACTIVECAMPAIGN_TOKEN"
    question = "API token: "
