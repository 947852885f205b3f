from typing import Any

from typing_extensions import override

from config.commands import DatabaseCommand
from crm.jobs import KEEP_FILES, prune_files


class Command(DatabaseCommand):
    """Delete the files of jobs that ended long ago, and uploads that were never started."""

    help = f"Delete the files of jobs that ended more than {KEEP_FILES.days} days ago."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Jobs whose files were deleted: {prune_files()}.")
