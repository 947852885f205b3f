"""Tallybook's configuration, and what its apps share."""

__version__ = "0.1.0"
