"""Admin pages of imports and exports."""

from transfers.admin import exports

__all__ = ["exports"]
