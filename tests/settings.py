"""The project's settings over a data folder of the tests' own; no database of yours is touched."""

import os
from pathlib import Path

os.environ.pop("DATABASE_URL", None)
os.environ["TALLYBOOK_DATA_DIR"] = str(Path(__file__).parent.parent / "var" / "test")

from config.settings import *  # noqa: F403
