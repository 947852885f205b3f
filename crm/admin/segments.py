"""Tags, lists and saved segments for people."""

from django.contrib import admin

from crm.models import List, Tag


@admin.register(Tag, List)
class SegmentAdmin(admin.ModelAdmin):
    """Tags, and lists."""

    list_display = ("title", "slug", "created_at")
    search_fields = ("title", "slug")
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012
