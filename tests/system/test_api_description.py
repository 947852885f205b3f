"""The API description as the server sends it."""

import os
import subprocess
import sys
from pathlib import Path

from django.test import Client as LocalClient

from tests.system.server import ROOT, Client

# What a new worker does, and its first requests.
FIRST_REQUESTS = """
import config.server.rsgi
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from django.test import Client

together = Barrier(16)

def status(client):
    together.wait()
    return client.get("/api/schema/").status_code

clients = [Client(raise_request_exception=False, SERVER_NAME="localhost") for _ in range(16)]
with ThreadPoolExecutor(16) as pool:
    print(*pool.map(status, clients))
"""


def test_the_description_that_tests_in_process_play_is_the_served_one(http: Client) -> None:
    played = LocalClient(SERVER_NAME="localhost").get("/api/schema/").json()
    assert http("GET", "/api/schema/", auth=None).json() == played


def test_16_at_once_get_the_description_from_a_new_worker(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_REQUESTS],
        cwd=ROOT,
        env={
            **kept,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "TALLYBOOK_DATA_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["200"] * 16, done.stderr
