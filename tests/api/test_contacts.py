"""Contacts, beyond what was recorded."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from crm.models import Subscriber


@pytest.mark.parametrize("email", ["a@b", "a b@example.com", 7, True, "a\u0000@example.com"])
def test_a_text_that_is_no_email_is_rejected(api: APIClient, email: Any) -> None:
    response = api.post("/subscribers", {"email": email, "status": "subscribed"})
    assert response.status_code == 422
    assert list(response.json()) == ["email"]
    assert not Subscriber.objects.exists()
