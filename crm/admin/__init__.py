"""Contacts, segments and application passwords for people."""

from django.contrib import admin

from crm.admin import contacts, labels, passwords

__all__ = ["contacts", "labels", "passwords"]

admin.site.site_header = admin.site.site_title = "Tallybook"
admin.site.site_url = None  # there is no other site
