"""User ids that programs of several sources write at the same time."""

from collections import Counter

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from crm.models import Identity
from crm.passwords import create_application_password
from tests.system.threads import in_threads

ROWS = 30
BULK = "/subscribers/bulk-add-update"


@pytest.mark.django_db(transaction=True)
def test_an_id_that_is_written_to_two_contacts_at_once_belongs_to_one_in_each_source() -> None:
    user = User.objects.create(username="admin", is_superuser=True)
    secrets = {
        source: create_application_password(user, source, "manage", user_source=source)[1]
        for source in ("shop", "forum")
    }

    def write(number: int) -> tuple[int, int]:
        """Give each id to a contact of this thread. Every second thread goes backwards."""
        client = APIClient(headers={"Authorization": f"Bearer {[*secrets.values()][number // 2]}"})
        rows = [{"email": f"c{number}-{n}@example.com", "user_id": n} for n in range(1, ROWS + 1)]
        response = client.post(BULK, {"contacts": rows[:: 1 if number % 2 else -1]})
        connection.close()
        body = response.json()
        return response.status_code, len(body["created"]) + len(body["invalids"])

    assert in_threads(4, write) == [(200, ROWS)] * 4
    written = Counter(Identity.objects.values_list("source", "value"))
    assert written == {(source, str(n)): 1 for source in secrets for n in range(1, ROWS + 1)}
