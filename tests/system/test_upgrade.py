"""manage.py upgrade: stores of earlier versions keep their rows, and get the present schema."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.test import override_settings
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from config.server.programs import program
from crm.models import Tag
from events.models import TrackedEvent
from events.verification import find_differences, find_orphans
from tests.databases import use
from tests.system.server import API
from tests.system.stores import GRACE, SHOP, Databases
from tests.system.upgrades import (
    EVENT,
    IDEMPOTENCY_KEYS,
    OLD_STORES,
    Rows,
    known,
    load,
    read_store,
    upgraded,
)

OLD = "old"
# The migrations since da57bc2 change rows of these.
CHANGED = {
    *("public.auth_group_permissions", "public.auth_permission", "public.django_content_type"),
    *("public.auth_group", "public.django_migrations", "public.crm_tag"),
}
FIRST, SECOND, LAST = "da57bc2", "bdd2532", "8922afe"


class Upgraded(NamedTuple):
    """A store that an earlier version made, before and after its upgrade."""

    name: str
    before: Rows
    after: Rows


@pytest.fixture(scope="module")
def store(
    request: pytest.FixtureRequest,
    shop_backup: Path,
    databases: Databases,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Upgraded]:
    """The store of an earlier version, upgraded. Django is connected to it."""
    folder = tmp_path_factory.mktemp("backups")
    databases.create(OLD)
    with (
        django_db_blocker.unblock(),
        use(OLD),
        override_settings(EMBEDDED_POSTGRES=False, BACKUPS_DIR=folder),
    ):
        load(OLD_STORES / f"{request.param}.sql")
        before = read_store()
        upgraded()
        yield Upgraded(request.param, before, read_store())
    databases.drop(OLD)


def client(store: Upgraded) -> APIClient:
    """Return the client that used the store before its upgrade."""
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=known(store.name)["authorization"])
    return api


def schema() -> list[str]:
    """Return the statements that make the database, in the order of their text."""
    with program("pg_dump", "--schema-only", "--no-owner", stdout=subprocess.PIPE) as process:
        assert process.stdout
        text = process.stdout.read().decode()
    lines = (line for line in text.splitlines() if not line.startswith("\\"))
    # PostgreSQL writes the casts of a list otherwise after a dump and its load.
    plain = re.sub(r"::[a-z]+( varying)?(\[\])?|[()]", "", "\n".join(lines))
    return sorted(plain.split("\n\n\n"))


of_all = pytest.mark.parametrize("store", [FIRST, SECOND, LAST], indirect=True)
of_last = pytest.mark.parametrize("store", [LAST], indirect=True)


@of_all
def test_every_row_stays_as_it_was(store: Upgraded) -> None:
    kept = {table: rows for table, rows in store.before.items() if table not in CHANGED}
    # Columns that a migration has added are left out.
    now = {
        table: [
            {name: row[name] for name in old}
            for old, row in zip(rows, store.after[table], strict=True)
        ]
        for table, rows in kept.items()
    }
    assert now == kept


@of_all
def test_the_schema_is_that_of_a_new_store(store: Upgraded) -> None:
    upgraded_schema = schema()
    with use(SHOP):
        assert upgraded_schema == schema()


@of_all
def test_no_counter_differs_and_no_row_is_orphaned(store: Upgraded) -> None:
    assert find_differences() == []
    assert [fault for fault in find_orphans() if fault.number] == []


@of_all
def test_the_application_password_works(store: Upgraded) -> None:
    response = client(store).get(f"{API}/subscribers")
    assert (response.status_code, response.json()["subscribers"]["total"]) == (200, 3)


@of_all
def test_a_new_event_counts_on(store: Upgraded) -> None:
    before = TrackedEvent.objects.get(subscriber__email="ada@example.com").counter
    fields = {"event_key": "login", "title": "Logged in", "email": "ada@example.com"}
    assert client(store).post(f"{API}/subscribers/track-event", fields).status_code == 200
    assert TrackedEvent.objects.get(subscriber__email="ada@example.com").counter == before + 1


@of_all
def test_slugs_that_differ_in_case_alone_get_a_number(store: Upgraded) -> None:
    # The first version alone permitted such a tag.
    slugs = ["VIP", "vip-2"] if store.name == FIRST else ["VIP"]
    assert list(Tag.objects.order_by("id").values_list("slug", flat=True)) == slugs


@of_last
def test_retries_of_events_before_the_upgrade_count_nothing(store: Upgraded) -> None:
    api = client(store)
    path = f"{API}/subscribers/track-event"
    bodies = [
        api.post(path, EVENT, headers={"Idempotency-Key": key}).content.decode()
        for key in IDEMPOTENCY_KEYS
    ]
    assert bodies == known(store.name)["responses"]
    assert TrackedEvent.objects.get(subscriber__email=GRACE).counter == len(IDEMPOTENCY_KEYS)


@of_last
def test_the_tracking_key_works(store: Upgraded) -> None:
    actid, key = known(store.name)["tracking_key"]
    form = {"actid": actid, "key": key, "event": "e", "visit": json.dumps({"email": GRACE})}
    response = APIClient().post("/event", form, format="multipart")
    assert (response.status_code, response.json()["success"]) == (200, 1)
