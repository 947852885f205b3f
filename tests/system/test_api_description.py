"""The API description as the server sends it."""

from django.test import Client as LocalClient

from tests.system.server import Client


def test_the_description_that_tests_in_process_play_is_the_served_one(http: Client) -> None:
    played = LocalClient(SERVER_NAME="localhost").get("/api/schema/").json()
    assert http("GET", "/api/schema/", auth=None).json() == played
