"""Admin pages of tags and lists."""

from collections.abc import Iterable
from typing import Any, NoReturn

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Func, IntegerField, OuterRef, QuerySet, Subquery
from django.forms import ModelForm
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from typing_extensions import override

from config.api.validation import MAX_NAME_LENGTH, InvalidValue, long_text, single_line
from crm import labels
from crm.admin.base import StrictModelAdmin
from crm.label_deletion import delete_labels
from crm.labels import slugify, with_slug
from crm.models import List, Tag
from crm.segments import segments_using

MAX_COUNTED = 10_000
VIEW_CONTACTS = "crm.view_subscriber"


def link_to_contacts(text: str, **filters: Any) -> SafeString:
    """Return a link to the list of contacts with these filters."""
    url = f"{reverse('admin:crm_subscriber_changelist')}?{urlencode(filters)}"
    return format_html('<a href="{}">{}</a>', url, text)


def kind_of(model: type[Any]) -> labels.LabelKind:
    """Return the kind of label that a model is."""
    return "tags" if model is Tag else "lists"


class LabelForm(ModelForm):
    """The form of a tag or a list."""

    def clean_title(self) -> str:
        """Fold the whitespace of the title, and reject that of another label.

        API clients find the label by its title.
        """
        title = single_line(MAX_NAME_LENGTH)(self.cleaned_data["title"])
        model = self._meta.model
        found = labels.find_labels(kind_of(model), [title], by=("title",))
        other_id = found.get(title, self.instance.pk)
        if other_id != self.instance.pk:
            self._reject("title", model._default_manager.get(pk=other_id))
        return title

    def clean_description(self) -> str:
        """Validate the description as the API does."""
        validator = long_text(labels.MAX_DESCRIPTION_LENGTH)
        try:
            description: str = validator(self.cleaned_data["description"])
        except InvalidValue as error:
            raise ValidationError(error.message.format(field="description")) from None
        return description

    def clean_slug(self) -> str:
        """Make the slug as the API does, and link to another label that has it."""
        slug = slugify(self.cleaned_data["slug"])
        model = self._meta.model
        other = with_slug(model._default_manager.exclude(pk=self.instance.pk), slug).first()
        if other:
            self._reject("slug", other)
        return slug

    def _reject(self, field: str, other: labels.TagOrList) -> NoReturn:
        url = reverse(f"admin:crm_{other._meta.model_name}_change", args=[other.pk])
        message = 'Another one has this {}. See <a href="{}"><bdi>{}</bdi></a>.'
        raise ValidationError(format_html(message, field, url, other))


@admin.register(Tag, List)
class LabelAdmin(StrictModelAdmin):
    """Tags, and lists, with their numbers of contacts."""

    form = LabelForm
    list_display = ("title", "slug", "created_at")
    search_fields = ("title", "slug")
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012
    list_per_page = 50

    @property
    def kind(self) -> labels.LabelKind:
        """The kind of label that this page shows."""
        return kind_of(self.model)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # `number` counts no further than one more than the page shows.
        rows, column = labels.memberships(self.kind)
        counted = rows.filter(**{column: OuterRef("pk")}).values("id")[: MAX_COUNTED + 1]
        number = Func(
            Subquery(counted),
            template="(SELECT count(*) FROM %(expressions)s counted)",
            output_field=IntegerField(),
        )
        queryset: QuerySet[Any] = super().get_queryset(request).annotate(number=number)
        return queryset

    @override
    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        columns = self.list_display
        return (*columns, "contacts") if request.user.has_perm(VIEW_CONTACTS) else columns

    @admin.display(description="contacts")
    def contacts(self, label: Any) -> SafeString:
        """Return the number of contacts as a link to them."""
        is_more = label.number > MAX_COUNTED
        text = f"more than {MAX_COUNTED:,}" if is_more else f"{label.number:,}"
        return link_to_contacts(text, **{self.kind[:-1]: label.pk})

    @override
    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        """Save as the API does.

        Raises:
            SlugTaken: another label has the slug.
            Http404: the label was deleted meanwhile.
        """
        fields = dict(form.cleaned_data)
        if not change:
            obj.__dict__.update(labels.create_label(self.kind, fields).__dict__)
        elif not labels.update_label(self.kind, obj.pk, fields):
            raise Http404

    @override
    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        # Counts of contacts, because Django would name every single one.
        rows, column = labels.memberships(self.kind)
        ids = [label.pk for label in objs]
        counts: dict[str, Any] = {
            str(self.opts.verbose_name_plural): len(ids),
            "contacts that they are taken off": rows.filter(**{f"{column}__in": ids}).count(),
        }
        if segments := segments_using(self.kind, ids):
            titles = ", ".join(f"“{segment.title}”" for segment in segments)
            counts["segments that show an error until they are changed"] = titles
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(label) for label in objs], counts, lacking, []

    @override
    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._delete(request, [obj.pk])

    @override
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._delete(request, queryset.values_list("pk", flat=True))

    def _delete(self, request: HttpRequest, ids: Iterable[int]) -> None:
        """Delete labels, also those of segments, because the page before has named these."""
        for segment in delete_labels(self.kind, ids, force=True):
            message = (
                "The segment “{}” used what was deleted. It shows an error until it is changed."
            )
            messages.warning(request, message.format(segment.title))
