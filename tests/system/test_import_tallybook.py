"""Imports of a served Tallybook, which speaks FluentCRM's API and ActiveCampaign's."""

import subprocess
import sys
from base64 import b64decode
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from crm import jobs
from crm.models import CustomField, Identity, Subscriber, SubscriberNote
from events.models import EventOccurrence, TrackedEvent
from tests.api.played import AT
from tests.api.snapshots import without_snapshots
from tests.system.server import API, ROOT, Client, Server
from transfers.comparison import compare

pytestmark = pytest.mark.django_db


@pytest.fixture
def secret(http: Client, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The password of "admin" at the served Tallybook, for an import into the tests' database."""
    settings.FILES_DIR = tmp_path / "files"
    # Another connection does not see the job in the test's transaction.
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 600)
    assert http.auth
    return b64decode(http.auth.removeprefix("Basic ")).decode().partition(":")[2]


@pytest.fixture
def tallybook(http: Client, sql: psycopg.Connection) -> Client:
    """A served Tallybook with contacts that have something of everything."""
    fields = [
        {"field_key": "text", "type": "text", "label": "Plan", "slug": "plan"},
        {"type": "checkbox", "label": "Colors", "slug": "colors", "options": ["Red", "Blue"]},
    ]
    http("PUT", f"{API}/custom-fields/contacts", {"fields": fields})
    for number in range(1, 11):
        http.contact(
            f"c{number}@example.com",
            first_name=f"Zoë {number}",
            status=("subscribed", "unsubscribed", "pending")[number % 3],
            user_id=f"auth0|{number}",
            last_activity=AT,
            custom_values={"plan": "pro", "colors": ["Red"]},
            tags=[{"title": "VIP, gold"}, {"title": f"t{number % 4}"}],
            lists=[{"title": "News"}],
        )
        http.track(email=f"c{number}@example.com", event_key="buy", title="Bought", value="1")
    rows = http("GET", f"{API}/subscribers?per_page=100").json()["subscribers"]["data"]
    for row in rows[:5]:
        note = {"title": "Call", "description": "Hi", "type": "call", "created_at": AT}
        answer = http("POST", f"{API}/subscribers/{row['id']}/notes", {"note": note})
        assert answer.status == 200, answer.body
    # FluentCRM's API has whole seconds.
    sql.execute("UPDATE crm_subscribernote SET updated_at = date_trunc('second', updated_at)")
    sql.execute("UPDATE crm_subscriber SET created_at = date_trunc('second', created_at)")
    return http


def test_a_tallybook_becomes_equal(
    tallybook: Client,
    server: Server,
    secret: str,
    served_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLUENTCRM_PASSWORD", secret)
    out = StringIO()
    url = f"http://127.0.0.1:{server.port}"
    call_command("import_fluentcrm", url, user="admin", source="old", rate=1000, stdout=out)
    assert "differs" not in out.getvalue()
    path = tmp_path / "contacts.ndjson"
    subprocess.run(
        [sys.executable, "manage.py", "export", "contacts", str(path)],
        cwd=ROOT,
        env={**server.environment, "DATABASE_URL": served_url},
        check=True,
        capture_output=True,
    )
    with without_snapshots():
        numbers, differences = compare([path])
    assert (numbers, differences) == ({"contact": 10}, [])
    assert CustomField.objects.count() == 2
    assert TrackedEvent.objects.count() == 10
    assert SubscriberNote.objects.count() == 5
    assert Identity.objects.filter(kind="contact", source="old").count() == 10


def test_a_tallybook_is_read_as_an_activecampaign(
    tallybook: Client, server: Server, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVECAMPAIGN_TOKEN", secret)
    url = f"http://127.0.0.1:{server.port}"
    for _ in range(2):
        out = StringIO()
        call_command("import_activecampaign", url, rate=1000, stdout=out)
        assert "differs" not in out.getvalue()
    assert Subscriber.objects.count() == 10
    found = Subscriber.objects.get(email="c1@example.com")
    assert found.custom_values == {"plan": "pro", "colors": ["Red"]}
    assert {*found.tags.values_list("title", flat=True)} == {"VIP, gold", "t1"}
    assert found.status == "unsubscribed"
    assert EventOccurrence.objects.count() == 10
