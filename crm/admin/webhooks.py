"""Admin pages of incoming webhooks."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import ManyToManyField
from django.forms import CheckboxSelectMultiple, ModelForm
from django.http import Http404, HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from typing_extensions import override

from config.api.errors import InvalidFields
from config.audit import record
from crm import webhooks
from crm.admin.base import StrictModelAdmin
from crm.admin.label_actions import offer_labels
from crm.labels import LABEL_MODELS
from crm.models import IncomingWebhook
from crm.webhooks import POST_PERMISSIONS, WebhookFields

ABOUT = (
    "A form or another tool posts contacts to the URL, as JSON or as a form, with the field "
    "email and any other of a contact. Who knows the URL can add and change contacts: keep it "
    "secret, and delete the webhook to revoke it."
)


class WebhookForm(ModelForm):
    """The form of an incoming webhook."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind in LABEL_MODELS:
            if kind in self.fields:  # not on the page of an admin user who may only see it
                offer_labels(self.fields[kind], kind, self.instance)

    @override
    def clean(self) -> dict[str, Any]:
        """Limit webhooks and their labels, as the API does."""
        super().clean()
        try:
            if not self.instance.pk:
                webhooks.check_number()
            for kind in LABEL_MODELS:
                webhooks.check_labels({kind: self.cleaned_data.get(kind, ())})
        except InvalidFields as error:
            for field, rules in error.detail.items():
                self.add_error(field, [*rules.values()])
        return self.cleaned_data


@admin.register(IncomingWebhook)
class IncomingWebhookAdmin(StrictModelAdmin):
    """Incoming webhooks: their URLs, and what they do to contacts. Deleting one revokes it."""

    form = WebhookForm
    list_display = ("name", "status", "user", "last_used_at", "created_at")
    list_select_related = ("user",)
    search_fields = ("name",)
    list_per_page = 50
    readonly_fields = ("full_url", "user", "created_at", "last_used_at")
    formfield_overrides: ClassVar[Any] = {ManyToManyField: {"widget": CheckboxSelectMultiple}}

    @override
    def get_fieldsets(self, request: HttpRequest, obj: IncomingWebhook | None = None) -> Any:
        fields: tuple[str, ...] = ("name", "status", "tags", "lists")
        if obj:
            fields = ("full_url", *fields, "user", "created_at", "last_used_at")
        return [(None, {"fields": fields, "description": ABOUT})]

    @override
    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> IncomingWebhook | None:
        webhook = super().get_object(request, object_id, from_field)
        if webhook:
            webhook.url = request.build_absolute_uri(webhook.path)
        return webhook

    @admin.display(description="URL")
    def full_url(self, webhook: Any) -> SafeString:
        """Return the whole URL, which get_object has put together."""
        return format_html('<code class="key">{}</code>', webhook.url)

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        # Posts may do what the webhook's user may.
        return super().has_add_permission(request) and request.user.has_perms(POST_PERMISSIONS)

    @override
    def save_model(
        self, request: HttpRequest, obj: IncomingWebhook, form: ModelForm, change: bool
    ) -> None:
        """Save as the API does.

        Raises:
            Http404: the webhook was deleted meanwhile.
        """
        data = form.cleaned_data
        labels = {kind: [label.pk for label in data[kind]] for kind in LABEL_MODELS}
        fields = WebhookFields(data["name"], data["status"], labels)
        if change:
            if webhooks.update_webhook(obj.pk, fields) is None:
                raise Http404
        else:
            assert isinstance(request.user, User)
            webhook = webhooks.create_webhook(request.user, fields)
            obj.__dict__.update(webhook.__dict__)
        action = "changed" if change else "added"
        record(request, action, what="incoming webhook", id=obj.pk, status=fields.status)

    @override
    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Write nothing, because save_model has written the labels."""
