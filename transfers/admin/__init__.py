"""Admin pages of imports and exports."""

from transfers.admin import exports, imports

__all__ = ["exports", "imports"]
