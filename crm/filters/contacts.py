"""Filter by properties of a contact: FluentCRM's providers `subscriber` and `segment`."""

from typing import Any

from django.db.models import Count, Expression, F, Q
from django.db.models.lookups import Exact, GreaterThan

from config.api.validation import MAX_ITEMS, InvalidValue, to_bigint
from crm.aliases import has_alias
from crm.emails import email_key
from crm.filters.operators import (
    CONTAINS_OPS,
    DATE_OPS,
    DATETIME_OPS,
    LINE_TYPE,
    LINES_TYPE,
    NULL_OPS,
    TEXT_OPS,
    equality_ops,
    in_casefolded,
    in_exact,
    in_ops,
    is_not_null,
    non_empty_list,
    one_or_list,
    text_column,
    to_line,
    to_scalar,
)
from crm.filters.types import (
    Choices,
    Column,
    Condition,
    ContactSet,
    Operator,
    Property,
    Provider,
    ValueType,
)
from crm.labels import LABEL_MODELS, LabelKind, memberships
from crm.models import ContactType, Identity, Status, Subscriber

SELECTOR = {"type": "selections", "component": "options_selector"}


def text_property(
    verbose_name: str, column_name: str, choices: Choices | None = None, **options: Any
) -> Property:
    """Return a property of a text column."""
    nullable = Subscriber._meta.get_field(column_name).null
    column = text_column(column_name, nullable)
    return Property(
        verbose_name,
        TEXT_OPS,
        lambda condition: Q(condition.test(column)),
        options={"type": "nullable_text" if nullable else "text", **options},
        choices={"value": choices} if choices else {},
    )


def date_property(verbose_name: str, column_name: str) -> Property:
    """Return a property of a date or datetime column; null matches no comparison."""
    column = Subscriber._meta.get_field(column_name)
    help_text = {"help": "Contacts without a date are not in it."} if column.null else {}
    return Property(
        verbose_name,
        DATE_OPS if column.get_internal_type() == "DateField" else DATETIME_OPS,
        lambda condition: Q(condition.test(F(column_name))),
        options={"type": "dates", **help_text},
    )


def to_status(value: Any) -> str:
    """Convert to a known status, because with not_in an unknown one would match every contact."""
    try:
        return Status(to_line(value)).value
    except ValueError:
        message = f"The {{field}} must be one of: {', '.join(Status.values)}."
        raise InvalidValue("in", message) from None


def to_id_text(value: Any) -> str:
    """Convert to an id in digits."""
    return str(to_bigint(to_scalar(value)))


def to_email_key(value: Any) -> str:
    """Convert an e-mail to its key, so that it is found in every spelling."""
    return email_key(to_line(value))


EMAIL_TYPE = ValueType("text", to_email_key)
EMAILS_TYPE = ValueType("texts", one_or_list(to_email_key))
EMAIL_KEY_OPS = {
    "=": Operator("equal", EMAIL_TYPE, Exact),
    "!=": Operator("does not equal", EMAIL_TYPE, Exact, negated=True),
} | in_ops(EMAILS_TYPE, in_exact)


def has_email(condition: Condition) -> Q:
    """Match whole e-mails by their key, aliases among them, and parts of e-mails as stored."""
    if condition.operator_name in EMAIL_KEY_OPS:
        return Q(condition.test(F("email_key"))) | has_alias(condition.test)
    return Q(condition.test(F("email")))


STATUS_TYPE = ValueType("status", to_status)
STATUSES_TYPE = ValueType("statuses", one_or_list(to_status))
STATUS_OPS = (
    equality_ops(STATUS_TYPE) | CONTAINS_OPS | in_ops(STATUSES_TYPE, in_casefolded) | NULL_OPS
)
STATUS_OPTIONS = {str(value): str(label) for value, label in Status.choices}
TYPE_OPTIONS = {str(value): str(label) for value, label in ContactType.choices}
STATUS_CHOICES = Choices("statuses", lambda: list(STATUS_OPTIONS.items()), closed=True)
TYPE_CHOICES = Choices("contact_types", lambda: list(TYPE_OPTIONS.items()))


# Ids compare exactly, because two programs' ids may differ by case only.
USER_OPS = (
    {
        "=": Operator("equal", LINE_TYPE, Exact),
        "!=": Operator("does not equal", LINE_TYPE, Exact, negated=True),
    }
    | CONTAINS_OPS
    | in_ops(LINES_TYPE, in_exact)
    | {
        "is_null": Operator("empty", None, is_not_null, negated=True),
        "not_null": Operator("not empty", None, is_not_null),
    }
)


def has_user_id(condition: Condition) -> ContactSet:
    """Match contacts by the id that the calling program gave them."""
    identities = Identity.objects.filter(kind="user", source=condition.user_source)
    return ContactSet(identities.filter(condition.test(F("value"))))


IDS_TYPE = ValueType("ids", non_empty_list(lambda value: int(to_id_text(value))))


def on_any(column: Column, _: list[int]) -> Expression:
    """Match contacts that have at least one of the labels, by their number."""
    return GreaterThan(column, 0)


def on_all(column: Column, label_ids: list[int]) -> Expression:
    """Match contacts that have all of the labels, by their number."""
    return Exact(column, len(set(label_ids)))


LABEL_OPS = {
    "in": Operator("includes", IDS_TYPE, on_any),
    "not_in": Operator("does not include (in any)", IDS_TYPE, on_any, negated=True),
    "in_all": Operator("includes all of", IDS_TYPE, on_all),
    # In spite of FluentCRM's name, the contacts that have all of them are not found.
    "not_in_all": Operator("does not include all of", IDS_TYPE, on_all, negated=True),
}


def label_property(verbose_name: str, kind: LabelKind) -> Property:
    """Return the property of the contact's tags or lists, by id."""

    def titles() -> list[tuple[int, str]]:
        return list(LABEL_MODELS[kind].objects.values_list("id", "title")[:MAX_ITEMS])

    def matching(condition: Condition) -> ContactSet:
        rows, column = memberships(kind)
        attached = rows.filter(in_exact(F(column), condition.value))
        counted = attached.values("subscriber_id").annotate(number=Count("id"))
        return ContactSet(counted.filter(condition.test(F("number"))))

    return Property(
        verbose_name,
        LABEL_OPS,
        matching,
        options={**SELECTOR, "option_key": kind, "is_multiple": True},
        choices={"value": Choices(kind, titles, f"crm.view_{kind[:-1]}", closed=True)},
        label_kind=kind,
    )


SUBSCRIBER = Provider(
    "Contact",
    {
        "first_name": text_property("First Name", "first_name"),
        "last_name": text_property("Last Name", "last_name"),
        "email": Property("Email", TEXT_OPS | EMAIL_KEY_OPS, has_email, options={"type": "text"}),
        "address_line_1": text_property("Address Line 1", "address_line_1"),
        "address_line_2": text_property("Address Line 2", "address_line_2"),
        "city": text_property("City", "city"),
        "state": text_property("State", "state"),
        "postal_code": text_property("Postal Code", "postal_code"),
        "country": text_property("Country", "country"),
        "timezone": text_property("Time Zone", "timezone"),
        "phone": text_property("Phone", "phone"),
        "source": text_property("Source", "source"),
        "prefix": text_property("Name Prefix (Title)", "prefix"),
        "status": Property(
            "Status",
            STATUS_OPS,
            lambda condition: Q(condition.test(F("status"))),
            options={**SELECTOR, "option_key": "statuses", "options": STATUS_OPTIONS},
            choices={"value": STATUS_CHOICES},
        ),
        "contact_type": text_property("Type", "contact_type", TYPE_CHOICES, options=TYPE_OPTIONS),
        "user_id": Property("User ID", USER_OPS, has_user_id, options={"type": "numeric"}),
        "date_of_birth": date_property("Date of Birth", "date_of_birth"),
        "last_activity": date_property("Last Activity", "last_activity"),
        "created_at": date_property("Created At", "created_at"),
        "updated_at": date_property("Updated At", "updated_at"),
    },
)
SEGMENT = Provider(
    "Contact Segment",
    {
        "status": Property(
            "Status",
            in_ops(STATUSES_TYPE, in_casefolded),
            lambda condition: Q(condition.test(F("status"))),
            options={
                **SELECTOR,
                "option_key": "statuses",
                "is_multiple": True,
                "options": STATUS_OPTIONS,
            },
            choices={"value": STATUS_CHOICES},
        ),
        "contact_type": Property(
            "Type",
            in_ops(LINES_TYPE, in_casefolded),
            lambda condition: Q(condition.test(F("contact_type"))),
            options={
                **SELECTOR,
                "option_key": "contact_types",
                "is_multiple": False,
                "options": TYPE_OPTIONS,
            },
            choices={"value": TYPE_CHOICES},
        ),
        "tags": label_property("Tags", "tags"),
        "lists": label_property("Lists", "lists"),
    },
)
