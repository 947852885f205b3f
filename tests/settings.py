"""The project's settings over a data folder of the tests' own; no database of yours is touched."""

import os
from pathlib import Path

# Each of pytest-xdist's workers has its own.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

os.environ.pop("DATABASE_URL", None)
os.environ["TALLYBOOK_DATA_DIR"] = str(Path(__file__).parent.parent / "var" / "test" / WORKER)

from config.settings import *  # noqa: E402, F403
