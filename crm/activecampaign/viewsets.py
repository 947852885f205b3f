"""The base of the endpoints below `/api/3/`, with ActiveCampaign's errors."""

from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from typing_extensions import override

from config.api.errors import ApiError, FieldErrors, InvalidFields
from config.api.viewsets import ApiViewSet
from crm.authentication import ApiTokenAuthentication, ApplicationPasswordAuthentication

# What ActiveCampaign calls the columns.
WIRE_NAMES = {"first_name": "firstName", "last_name": "lastName", "custom_values": "fieldValues"}


LIST_PARAMETERS = ("limit", "offset", "orders", "include")
# The values of a parameter that filters nothing.
UNSET = (None, "", "0", 0)


class NoResult(ApiError):
    """404 as ActiveCampaign answers for an unknown id."""

    status_code = 404

    def __init__(self, noun: str, object_id: int) -> None:
        super().__init__({"message": f"No Result found for {noun} with id {object_id}"})


class ApiV3ViewSet(ApiViewSet):
    """A viewset with the header Api-Token, and ActiveCampaign's body of 422."""

    authentication_classes = (ApiTokenAuthentication, ApplicationPasswordAuthentication)
    # What a list reads besides LIST_PARAMETERS.
    parameters: ClassVar[Collection[str]] = ()

    @override
    def paginate_queryset(self, queryset: Any) -> list[Any]:
        """Return a page of a list.

        Raises:
            InvalidFields: 422, a parameter that the list does not read, because a client takes the
                first row of the response for the one that it asked for.
        """
        known = {*LIST_PARAMETERS, *self.parameters}
        params = self.params.items()
        if unknown := [name for name, value in params if name not in known and value not in UNSET]:
            raise unknown_filters(unknown)
        return super().paginate_queryset(queryset)

    @override
    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, InvalidFields):
            exc = ApiError({"errors": describe_errors(exc.detail)}, 422)
        return super().handle_exception(exc)


def unknown_filters(names: Iterable[str]) -> InvalidFields:
    """Return the error of filters that Tallybook has not."""
    errors: FieldErrors = {name: {"in": f"There is no filter {name} here."} for name in names}
    return InvalidFields(errors)


def describe_errors(errors: FieldErrors) -> list[dict[str, Any]]:
    """Return field errors as ActiveCampaign lists them.

    See its page "Create a contact": title, detail, code, error and the pointer to the attribute.
    """
    return [
        {
            "title": message,
            "detail": "",
            "code": rule,
            "error": rule,
            "source": {"pointer": f"/data/attributes/{wire_name(field)}"},
        }
        for field, rules in errors.items()
        for rule, message in rules.items()
    ]


def wire_name(field: str) -> str:
    """Return what ActiveCampaign calls a column. Of the path of a custom value, the whole field."""
    column = field.partition(".")[0]
    return WIRE_NAMES.get(column, column)
