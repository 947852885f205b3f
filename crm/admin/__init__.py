"""Admin pages of tags, lists, segments and application passwords, and the base of contacts'."""

from crm.admin import labels, passwords, segments

__all__ = ["labels", "passwords", "segments"]
