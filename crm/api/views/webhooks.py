"""FluentCRM's `/webhooks`: the incoming webhooks."""

from typing import Any, ClassVar

from django.contrib.auth.models import User
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import FieldErrors, InvalidFields, ObjectNotFound
from config.api.parsers import (
    Params,
)
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.serializers import format_datetime
from config.api.validation import (
    MAX_NAME_LENGTH,
    InvalidValue,
    single_line,
    to_text,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.audit import of_ids, record
from crm import webhooks
from crm.api.fields import (
    LABEL_FIELDS,
    to_status,
)
from crm.api.schema import webhooks as schema
from crm.api.views.reports import read_titled
from crm.custom_fields import declared_fields
from crm.labels import LABEL_MODELS, LabelKind, resolve_labels
from crm.models import IncomingWebhook, Scope, Status
from crm.permissions import Access
from crm.webhooks import POST_PERMISSIONS, WebhookFields

# FluentCRM's names of the fields that a post may have (app/Models/Subscriber.php, mappables).
FIELDS = {
    "prefix": "Name Prefix",
    "first_name": "First Name",
    "last_name": "Last Name",
    "full_name": "Full Name",
    "email": "Email",
    "timezone": "Timezone",
    "address_line_1": "Address Line 1",
    "address_line_2": "Address Line 2",
    "city": "City",
    "state": "State",
    "postal_code": "Postal Code",
    "country": "Country",
    "ip": "IP Address",
    "phone": "Phone",
    "source": "Source",
    "date_of_birth": "Date of Birth (Y-m-d Format only)",
}
VIEW = "crm.view_incomingwebhook"
UNKNOWN_STATUS = f"The {{field}} must be one of {', '.join(Status)}."


def to_known_status(value: Any) -> Status:
    """Convert to a status.

    Raises:
        InvalidValue: the status is unknown.
    """
    try:
        return Status(to_status(value))
    except ValueError:
        raise InvalidValue("in", UNKNOWN_STATUS) from None


class WebhookViewSet(ApiViewSet):
    """The incoming webhooks: `/webhooks`.

    Who sees one knows its secret, which lets anyone write contacts, so that the scope is manage.
    See FluentCRM's app/Http/Controllers/WebhookController.php.
    """

    access: ClassVar[dict[str, Access]] = {
        "list": Access(Scope.MANAGE, VIEW),
        # Each response has all webhooks.
        "create": Access(Scope.MANAGE, VIEW, "crm.add_incomingwebhook", *POST_PERMISSIONS),
        "update": Access(Scope.MANAGE, VIEW, "crm.change_incomingwebhook"),
        "destroy": Access(Scope.MANAGE, VIEW, "crm.delete_incomingwebhook"),
    }
    noun = "Webhook"
    lookup_url_kwarg = "webhook_id"
    lookup_value_regex = ID_REGEX
    queryset = IncomingWebhook.objects.all()
    pagination_class = None
    filter_backends = ()

    @schema.LIST_WEBHOOKS
    def list(self, request: Request) -> Response:
        """List the webhooks, the newest first, and the fields and labels that a post may name."""
        params = validate({"search": to_text}, self.params)
        warnings: Warnings = []
        body: dict[str, Any] = {
            "webhooks": listed(params.get("search", ""), request),
            "fields": [{"key": key, "field": field} for key, field in FIELDS.items()],
            "custom_fields": [
                {"key": slug, "field": field.label} for slug, field in declared_fields().items()
            ],
        }
        for kind, model in LABEL_MODELS.items():
            body[kind] = read_titled(model.objects.order_by("id"), kind, warnings)
        return Response(with_warnings(body, warnings))

    @schema.CREATE_WEBHOOK
    def create(self, request: Request) -> Response:
        """Create a webhook, and return its URL."""
        assert isinstance(request.user, User)
        webhook = webhooks.create_webhook(request.user, read_fields(self.params))
        record(request, "added", what="incoming webhook", id=webhook.pk, status=webhook.status)
        body = {"id": webhook.pk, "webhook": serialize(webhook, request)["value"]}
        return self._stored(body, "Successfully created the WebHook")

    @schema.UPDATE_WEBHOOK
    def update(self, request: Request, webhook_id: str) -> Response:
        """Change name, status, tags and lists. Without tags or lists it has none afterwards."""
        webhook = self.get_object()
        stored = {"name": webhook.name, "status": webhook.status}
        fields = read_fields({**stored, **self.params})
        if webhooks.update_webhook(webhook.pk, fields) is None:
            raise ObjectNotFound(self.noun)
        record(request, "changed", what="incoming webhook", id=webhook.pk, status=fields.status)
        return self._stored({}, "Successfully updated the webhook")

    @schema.DESTROY_WEBHOOK
    def destroy(self, request: Request, webhook_id: str) -> Response:
        """Delete a webhook. Posts to its URL are rejected from the next one on."""
        number, _ = IncomingWebhook.objects.filter(id=self.url_id).delete()
        if not number:
            raise ObjectNotFound(self.noun)
        record(request, "deleted", what="incoming webhook", **of_ids([self.url_id]))
        return self._stored({}, "Successfully deleted the webhook")

    def _stored(self, body: dict[str, Any], message: str) -> Response:
        return Response({**body, "webhooks": listed("", self.request), "message": message})

    @override
    def get_object(self) -> IncomingWebhook:
        webhook = super().get_object()
        assert isinstance(webhook, IncomingWebhook)
        return webhook


def read_fields(params: Params) -> WebhookFields:
    """Return the name, the status and the labels of a webhook that a request sends.

    Raises:
        InvalidFields: 422, also for a status that is unknown and for a label that does not exist.
    """
    validators = {"name": single_line(MAX_NAME_LENGTH), "status": to_known_status, **LABEL_FIELDS}
    fields = validate(validators, params, required=("name", "status"))
    ids: dict[LabelKind, list[int]] = {}
    errors: FieldErrors = {}
    for kind in LABEL_MODELS:
        ids[kind], missing = resolve_labels(kind, fields.get(kind, ()), create=False)
        if missing:
            message = f"There are no such {kind}: {', '.join(missing)}."
            errors[kind] = {"exists": message}
    if errors:
        raise InvalidFields(errors)
    return WebhookFields(fields["name"], fields["status"], ids)


def listed(search: str, request: Request) -> list[dict[str, Any]]:
    """Return the webhooks whose names contain a text, the newest first."""
    rows = IncomingWebhook.objects.filter(name__icontains=search)
    return [serialize(row, request) for row in rows.prefetch_related("tags", "lists")]


def serialize(webhook: IncomingWebhook, request: Request) -> dict[str, Any]:
    """Return a webhook as FluentCRM stores it (app/Models/Webhook.php, store)."""
    return {
        "id": webhook.pk,
        "object_type": "webhook",
        "object_id": None,
        "key": webhook.secret,
        "value": {
            "name": webhook.name,
            "lists": [row.pk for row in webhook.lists.all()],
            "tags": [row.pk for row in webhook.tags.all()],
            "status": webhook.status,
            "url": request.build_absolute_uri(webhook.path),
        },
        "created_at": format_datetime(webhook.created_at),
        "updated_at": format_datetime(webhook.updated_at),
    }
