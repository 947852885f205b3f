"""Contacts for people, with what they did: crm's pages of contacts, and ours beside them."""

from django.contrib import admin

from crm.admin.contacts import SubscriberAdmin
from crm.models import Subscriber
from events.admin.exports import ExportActions
from events.admin.personal_data import PersonalDataPages

admin.site.unregister(Subscriber)


@admin.register(Subscriber)
class ContactAdmin(PersonalDataPages, ExportActions, SubscriberAdmin):
    """Contacts and their events."""
