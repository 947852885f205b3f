"""The project's settings over a data folder of the tests' own; no database of yours is touched."""

import os
from pathlib import Path

# Each of pytest-xdist's workers has its own.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

FOLDER = Path(__file__).parent.parent / "var"
# As serve would make it: the data of `make run` comes into it later.
FOLDER.mkdir(mode=0o700, exist_ok=True)

os.environ.pop("DATABASE_URL", None)
os.environ["TALLYBOOK_DATA_DIR"] = str(FOLDER / "test" / WORKER)

from config.settings import *  # noqa: E402, F403

# A user's password is hashed once for each test that logs in: scrypt takes a second for five.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REST_FRAMEWORK = REST_FRAMEWORK | {"TEST_REQUEST_DEFAULT_FORMAT": "json"}  # noqa: F405

# A backup needs a store of its own. Tests that make one set it.
BACKUPS = 0

# Otherwise WhiteNoise scans all static files for each test client, which takes 8 ms.
WHITENOISE_AUTOREFRESH = True
