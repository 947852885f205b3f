"""Incoming webhooks: FluentCRM's `/webhooks`, and the address to which other tools post."""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from django.contrib.auth.models import User
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import ApiError, FieldErrors, Forbidden, InvalidFields, ObjectNotFound
from config.api.parsers import (
    FormOrJSONParser,
    JSONParser,
    MultiPartParser,
    Params,
    TextParser,
    lower_names,
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
from config.api.warnings import MAX_CHOICES, Warnings, capped, with_warnings
from config.audit import of_ids, record, record_refusal
from config.database import drop_closed_connection, in_transaction
from config.refusals import refuse
from crm import contacts, webhooks
from crm.api.fields import (
    LABEL_FIELDS,
    contact_fields,
    to_label_names,
    to_status,
    with_values_of_slugs,
)
from crm.api.schema import webhooks as schema
from crm.api.views.contacts import LABEL_CHANGES, change_labels
from crm.custom_fields import declared_fields
from crm.labels import LABEL_MODELS, LabelKind, resolve_labels
from crm.models import OPT_OUTS, IncomingWebhook, Scope, Status
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
UNKNOWN_STATUS = f"The {{field}} must be one of {', '.join(Status)}."
# The parameters of the address, which are no fields of a contact.
ADDRESS_PARAMETERS = ("fluentcrm", "route", "hash")


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
        "list": Access(Scope.MANAGE, "crm.view_incomingwebhook"),
        "create": Access(Scope.MANAGE, "crm.add_incomingwebhook", *POST_PERMISSIONS),
        "update": Access(Scope.MANAGE, "crm.change_incomingwebhook"),
        "destroy": Access(Scope.MANAGE, "crm.delete_incomingwebhook"),
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
            labels = model.objects.order_by("id").values("id", "title", "slug")
            body[kind], more = capped(labels[: MAX_CHOICES + 1], kind)
            warnings += more
        return Response(with_warnings(body, warnings))

    @schema.CREATE_WEBHOOK
    def create(self, request: Request) -> Response:
        """Create a webhook, and return its address."""
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
        """Delete a webhook. Posts to its address are refused from the next one on."""
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
            "url": request.build_absolute_uri(webhook.address),
        },
        "created_at": format_datetime(webhook.created_at),
        "updated_at": format_datetime(webhook.updated_at),
    }


class ContactPostViewSet(ApiViewSet):
    """FluentCRM's address of a site, `/?fluentcrm=1&route=…`, of which forms use the route contact.

    See FluentCRM's app/Hooks/Handlers/ExternalPages.php, handleContactWebhook. The secret in the
    address is the credential. JSON is read whatever its Content-Type, as there
    (vendor/wpfluent/framework/src/WPFluent/Request/Request.php, getJson).
    """

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (JSONParser, FormOrJSONParser, TextParser, MultiPartParser)

    def receive(self, request: Request) -> Response:
        """Create or update the contact of a post.

        Every rejection is 200 with success false, as in FluentCRM, but for an unavailable database
        (503), which the other tool should try again, and too many wrong secrets (429).
        """
        try:
            return Response({"success": True, "data": self._receive(request)})
        except WebhookError as error:
            return failure(str(error), error.type)
        except InvalidFields as error:
            kind = "email_validation_failed" if "email" in error.detail else "validation_failed"
            return failure("Validation failed.", kind, errors=error.detail)
        except ApiError as error:
            return failure(error.detail["message"], error.detail.get("code", "refused"))
        except UnsupportedMediaType:
            return failure("Send JSON or a form, in UTF-8.", "rest_unsupported_media_type")

    def _receive(self, request: Request) -> dict[str, Any]:
        route = validate({"route": to_text}, self.query).get("route")
        if route != "contact":
            raise WebhookError("Tallybook has the route contact only.", "invalid_route")
        if request.method != "POST":
            raise WebhookError("Webhook must need to be as POST Method", "invalid_request_method")
        secret = validate({"hash": to_text}, self.query).get("hash")
        if not secret:
            raise WebhookError("Invalid Webhook URL", "invalid_webhook_url")
        # The first statement of the request.
        drop_closed_connection()
        webhook = webhooks.find_webhook(secret)
        if webhook is None:
            refuse(request)
            record_refusal(request, 401, None)
            raise WebhookError("Invalid Webhook Hash", "invalid_webhook_hash")
        params = {
            name: value for name, value in self.params.items() if name not in ADDRESS_PARAMETERS
        }
        return store_contact(webhook, lower_names(params))


class WebhookError(Exception):
    """A post that FluentCRM refuses with a message and a type."""

    def __init__(self, message: str, type_: str) -> None:
        super().__init__(message)
        self.type = type_


def failure(message: str, type_: str, **data: Any) -> Response:
    """Return a refusal as WordPress's wp_send_json_error writes it."""
    return Response({"success": False, "data": {"message": message, **data, "type": type_}})


def store_contact(webhook: IncomingWebhook, params: Mapping[str, Any]) -> dict[str, Any]:
    """Create or update the contact that a post describes.

    The status is the webhook's, unless the post has an opt-out, which FluentCRM overwrites. A
    contact that opted out stays so.

    Returns:
        The data of a response with success true.

    Raises:
        InvalidFields: 422.
        Forbidden: 403, the webhook's user may not do what the post asks for.
    """
    warnings: Warnings = []
    if isinstance(names := params.get("names"), Mapping):
        params = {**params, **{name: names.get(name) for name in ("first_name", "last_name")}}
    declared = cache(declared_fields)
    params = with_values_of_slugs(params, declared)
    fields = contact_fields(params, warnings, required=("email",), declared=declared)
    if fields.get("status") not in OPT_OUTS:
        fields["status"] = webhook.status
    labels = validate(dict.fromkeys(LABEL_CHANGES, to_label_names), params, warnings=warnings)
    for kind in LABEL_MODELS:
        if not labels.get(kind):
            ids = getattr(webhook, kind).values_list("id", flat=True)
            labels[kind] = [str(label_id) for label_id in ids]
    has_perm = webhook.user.has_perm
    if not all(map(has_perm, POST_PERMISSIONS)):
        raise Forbidden("The webhook's user may not add and change contacts.")

    @in_transaction
    def store() -> dict[str, Any]:
        # A list of each try, because a deadlock repeats this function.
        reported = [*warnings]
        contact, created = contacts.create_or_update(
            fields, force_status=False, keep_opt_outs=True, warnings=reported
        )
        change_labels(contact, labels, reported, has_perm)
        data = {"message": "created" if created else "updated", "id": contact.pk}
        return with_warnings({**data, "type": "success"}, reported)

    return store()
