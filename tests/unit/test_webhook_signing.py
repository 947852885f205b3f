"""Signatures of webhooks, verified by the package that receivers use."""

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from automations.webhooks.signing import new_secret, signed_headers

BODY = '{"type": "a.b", "data": {"name": "Zoë"}}'
ID = "msg_1"


def test_a_receiver_verifies_the_signature() -> None:
    secret = new_secret()
    headers = signed_headers(ID, int(time.time()), BODY.encode(), [secret])
    assert Webhook(secret).verify(BODY, headers)["data"] == {"name": "Zoë"}


@pytest.mark.parametrize("used", [0, 1], ids=["new", "old"])
def test_during_a_rotation_both_secrets_verify_it(used: int) -> None:
    both = [new_secret(), new_secret()]
    headers = signed_headers(ID, int(time.time()), BODY.encode(), both)
    assert Webhook(both[used]).verify(BODY, headers)


@pytest.mark.parametrize(
    ("message_id", "age", "body"),
    [("msg_2", 0, BODY), (ID, 600, BODY), (ID, 0, BODY.replace("Zoë", "Eve"))],
    ids=["other id", "too old", "other body"],
)
def test_a_message_that_was_changed_is_not_verified(message_id: str, age: int, body: str) -> None:
    secret = new_secret()
    headers = signed_headers(ID, int(time.time()) - age, BODY.encode(), [secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {"webhook-id": message_id})


def test_a_secret_has_32_random_bytes() -> None:
    assert new_secret() != new_secret()
    assert len(new_secret()) == len("whsec_") + 44
