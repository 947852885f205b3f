"""Contacts and what belongs to them, segments, receipts of erasures, and credentials."""

from crm.models.contacts import (
    OPT_INS,
    OPT_OUTS,
    USER_ID_OF_CONTACT,
    ContactType,
    EmailKeyField,
    Identity,
    Status,
    Subscriber,
    SubscriberNote,
    full_name,
    gravatar,
)
from crm.models.credentials import (
    ApplicationPassword,
    IncomingWebhook,
    NewContacts,
    Scope,
    SharedKey,
)
from crm.models.custom_fields import CHOICE_TYPES, LIST_TYPES, CustomField, CustomKey, FieldType
from crm.models.jobs import BulkChange, Job, JobState
from crm.models.labels import (
    JSONTextField,
    Label,
    List,
    Segment,
    SluggedModel,
    Tag,
    updated_now,
)
from crm.models.outbox import OutboxEntry, OutboxKind, Watch
from crm.models.records import Erasure, HistoryEntry

__all__ = [
    "CHOICE_TYPES",
    "LIST_TYPES",
    "OPT_INS",
    "OPT_OUTS",
    "USER_ID_OF_CONTACT",
    "ApplicationPassword",
    "BulkChange",
    "ContactType",
    "CustomField",
    "CustomKey",
    "EmailKeyField",
    "Erasure",
    "FieldType",
    "HistoryEntry",
    "Identity",
    "IncomingWebhook",
    "JSONTextField",
    "Job",
    "JobState",
    "Label",
    "List",
    "NewContacts",
    "OutboxEntry",
    "OutboxKind",
    "Scope",
    "Segment",
    "SharedKey",
    "SluggedModel",
    "Status",
    "Subscriber",
    "SubscriberNote",
    "Tag",
    "Watch",
    "full_name",
    "gravatar",
    "updated_now",
]
