"""Open a source by the parameters of its job."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from transfers.sources import Opener, Source
from transfers.sources.activecampaign import open_activecampaign
from transfers.sources.fluentcrm_mysql import open_mysql
from transfers.sources.fluentcrm_rest import open_rest
from transfers.sources.run import ACTIVECAMPAIGN, FLUENTCRM

MYSQL = ("mysql://", "mariadb://")


def open_fluentcrm(
    parameters: Mapping[str, Any], secret: str, check: Callable[[], object]
) -> AbstractContextManager[Source]:
    """Open a FluentCRM, by its database or its REST API."""
    opener = open_mysql if parameters["url"].startswith(MYSQL) else open_rest
    return opener(parameters, secret, check)


OPENERS: Mapping[str, Opener] = {
    FLUENTCRM: open_fluentcrm,
    ACTIVECAMPAIGN: open_activecampaign,
}
