"""The URLs of incoming webhooks, to which forms and other tools post contacts."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from config.api.errors import ApiError, Forbidden, InvalidFields
from config.api.parsers import (
    FormOrJSONParser,
    JSONParser,
    MultiPartParser,
    Params,
    TextParser,
    lower_names,
)
from config.api.responses import Response
from config.api.validation import (
    to_text,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.audit import record_refusal
from config.database import drop_closed_connection, in_transaction
from config.refusals import refuse
from crm import contacts, webhooks
from crm.api.changes import LABEL_CHANGES, change_labels
from crm.api.fields import (
    contact_fields,
    to_label_names,
    with_values_of_slugs,
)
from crm.custom_fields import declared_fields
from crm.labels import LABEL_MODELS
from crm.models import OPT_OUTS, IncomingWebhook, Status
from crm.webhooks import POST_PERMISSIONS

# Rules of warnings that tell something about the status of a contact.
STATUS_RULES = ("in", "keep_opt_outs", "force_update", "erased")
NAMES = ("first_name", "last_name")
# The parameters of the URL, which are no fields of a contact.
URL_PARAMETERS = ("fluentcrm", "route", "hash")


class ContactPostViewSet(ApiViewSet):
    """FluentCRM's URL of a site, `/?fluentcrm=1&route=…`, of which forms use the route contact.

    See FluentCRM's app/Hooks/Handlers/ExternalPages.php, handleContactWebhook. The secret in the
    URL is the credential. JSON is read whatever its Content-Type, as there
    (vendor/wpfluent/framework/src/WPFluent/Request/Request.php, getJson).
    """

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (JSONParser, FormOrJSONParser, TextParser, MultiPartParser)

    def receive(self, request: Request) -> Response:
        """Create or update the contact of a post.

        Every rejection is 200 with success false, as in FluentCRM, but for an unavailable database
        (503), which the other tool should try again, and too many invalid secrets (429).
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
        params = {name: value for name, value in self.params.items() if name not in URL_PARAMETERS}
        return store_contact(webhook, lower_names(params))


class WebhookError(Exception):
    """A post that FluentCRM rejects with a message and a type."""

    def __init__(self, message: str, type_: str) -> None:
        super().__init__(message)
        self.type = type_


def failure(message: str, type_: str, **data: Any) -> Response:
    """Return a rejection as WordPress's wp_send_json_error writes it."""
    return Response({"success": False, "data": {"message": message, **data, "type": type_}})


def store_contact(webhook: IncomingWebhook, params: Params) -> dict[str, Any]:
    """Create or update the contact that a post describes.

    A field that is invalid, but for the e-mail, is left out with a warning, because the person who
    filled in a form cannot send it again. So is a user_id that another contact has, and what would
    be too much for the contact.

    Returns:
        The data of a response with success true.

    Raises:
        InvalidFields: 422, the e-mail is missing or invalid.
        Forbidden: 403, the webhook's user may not do what the post asks for.
    """
    if not all(map(webhook.user.has_perm, POST_PERMISSIONS)):
        raise Forbidden("The webhook's user may not add and change contacts.")
    if isinstance(names := params.get("names"), Mapping):
        params = {**params, **{name: names[name] for name in NAMES if names.get(name)}}
    warnings: Warnings = []
    while True:
        try:
            return _store(webhook, params, warnings)
        except InvalidFields as error:
            params = without_invalid(params, error, warnings)


@in_transaction
def _store(webhook: IncomingWebhook, params: Params, warnings: Warnings) -> dict[str, Any]:
    # A list of each try, because a deadlock repeats this function.
    reported = [*warnings]
    declared = cache(declared_fields)
    with_values = with_values_of_slugs(params, declared)
    fields = contact_fields(with_values, reported, required=("email",), declared=declared)
    fields["status"] = status_of(fields.get("status"), webhook)
    labels = validate(dict.fromkeys(LABEL_CHANGES, to_label_names), params, warnings=reported)
    for kind in LABEL_MODELS:
        if not labels.get(kind):
            ids = getattr(webhook, kind).values_list("id", flat=True)
            labels[kind] = [str(label_id) for label_id in ids]
    contact, created = contacts.create_or_update(fields, keep_opt_outs=True, warnings=reported)
    # Those of the status tell that the contact opted out or was erased. A page of a site may have
    # the URL, so that any visitor could ask for any e-mail.
    reported = [each for each in reported if each["rule"] not in STATUS_RULES]
    change_labels(contact, labels, reported, webhook.user.has_perm)
    message = "created" if created else "updated"
    return with_warnings({"message": message, "id": contact.pk, "type": "success"}, reported)


def status_of(sent: str | None, webhook: IncomingWebhook) -> str:
    """Return the status of a post: an opt-out that it sends, else the webhook's.

    A word that is no status is returned too, because it may be meant as an opt-out: nothing that
    crm/contacts.py does with it subscribes the contact.
    """
    if not sent:
        return webhook.status
    try:
        status = Status(sent)
    except ValueError:
        return sent
    return status if status in OPT_OUTS else webhook.status


def without_invalid(params: Params, error: InvalidFields, warnings: Warnings) -> Params:
    """Return the fields of a post without those of an error, which become warnings.

    Raises:
        InvalidFields: the error itself, if it is about the e-mail, or about no field of the post.
    """
    kept = dict(params)
    for path, rules in error.detail.items():
        name, _, slug = path.partition(".")
        # Custom values may be beside the other fields, or in an object, or in its JSON text.
        if slug and isinstance(kept.get(name), dict):
            kept[name] = {key: value for key, value in kept[name].items() if key != slug}
        elif not slug or slug not in kept:
            kept.pop(name, None)
        kept.pop(slug, None)
        warnings += [
            {"field": path, "rule": rule, "message": f"Left out: {message}"}
            for rule, message in rules.items()
        ]
    if "email" in error.detail or kept == params:
        raise error
    return kept
