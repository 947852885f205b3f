"""What an admin user chooses about the values of a file. Options are stored as JSON."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils import timezone
from typing_extensions import override

from config.api.errors import FieldErrors, InvalidFields
from crm.models import Status
from transfers.values import DECIMALS, ORDERS, DateOrder, DecimalMark

SEPARATORS = (",", ";", "|")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How values of a file are read.

    `zone` is the name of the time zone of datetimes without one, "" for TIME_ZONE.

    Raises:
        InvalidFields: an option has a value that there is not.
    """

    date_order: DateOrder = "ymd"
    decimal_mark: DecimalMark = "."
    zone: str = ""

    def __post_init__(self) -> None:
        choices: Mapping[str, Collection[str]] = self.choices()
        errors: FieldErrors = {
            name: {"in": f"The {name} must be one of: {' '.join(choices[name])}"}
            for name in choices
            if getattr(self, name) not in choices[name]
        }
        try:
            self.tzinfo()
        except (ZoneInfoNotFoundError, ValueError):
            errors["zone"] = {"in": f'There is no time zone "{self.zone}".'}
        if errors:
            raise InvalidFields(errors)

    def tzinfo(self) -> tzinfo:
        """Return the time zone of datetimes without one."""
        return ZoneInfo(self.zone) if self.zone else timezone.get_default_timezone()

    def choices(self) -> Mapping[str, Collection[str]]:
        """Return the values that an option may have."""
        return {"date_order": ORDERS, "decimal_mark": DECIMALS}


@dataclass(frozen=True, kw_only=True)
class ContactOptions(Options):
    """How contacts of a file are read.

    `status` is that of all contacts of a file without such a column, `separator` that of labels in
    a cell. `tags` and `lists` are titles that all contacts get.
    """

    status: str
    separator: str = ","
    tags: Sequence[str] = ()
    lists: Sequence[str] = ()

    @override
    def choices(self) -> Mapping[str, Collection[str]]:
        return {**super().choices(), "status": Status.values, "separator": SEPARATORS}
