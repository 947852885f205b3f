"""The kinds of jobs that have pages of their own: imports and exports."""

from crm.models import Job


class Export(Job):
    """An export, under a name of its own in the admin."""

    class Meta:
        proxy = True
        default_permissions = ()


class Import(Job):
    """An import, under a name of its own in the admin."""

    class Meta:
        proxy = True
        default_permissions = ()
