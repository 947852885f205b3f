"""URLs of webhooks: which are valid, and which lead into the server's own network."""

import pytest

from automations.webhooks.client import post
from automations.webhooks.endpoints import MAX_URL_LENGTH, InvalidWebhook, check_url

INVALID = [
    ("", "whitespace"),
    ("hook.example/path", "has to begin with https"),
    ("//hook.example/", "has to begin with https"),
    ("ftp://hook.example/", "has to begin with https"),
    ("file:///etc/passwd", "has to begin with https"),
    ("gopher://127.0.0.1:6379/_FLUSHALL", "has to begin with https"),
    ("javascript:alert(1)", "has to begin with https"),
    ("https://", "no valid host"),
    ("https:///path", "no valid host"),
    ("https://:443/", "no valid host"),
    ("https://user:secret@hook.example/", "user or a password"),
    ("https://hook.example@127.0.0.1/", "user or a password"),
    ("https://hook.example#@127.0.0.1/", "behind #"),
    ("https://127.0.0.1\\@hook.example/", "ASCII"),
    ("https://hook.example:99999/", "no URL"),
    ("https://hook.example:port/", "no URL"),
    ("https://hook.example:0/", "no valid host or port"),
    ("https://[::1/", "no URL"),
    ("https://[zz]/", "no URL"),
    ("https://hook.example/a b", "whitespace"),
    ("https://hook.example/\r\nHost: other", "whitespace"),
    ("https://hook.example/\0", "whitespace"),
    ("https://bücher.example/", "xn--"),
    ("https://①②⑦.⓪.⓪.①/", "ASCII"),
    ("https://hook_.exa%6dple/", "no valid host"),
    ("https://hook..example/", "no valid host"),
    ("https://hook.example/" + "a" * MAX_URL_LENGTH, "2,000 characters"),
]
PRIVATE = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.1./",
    "https://0/",
    "https://localhost/",
    "https://LOCALHOST:5432/",
    "https://10.0.0.1:22/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
]


@pytest.mark.parametrize(("url", "message"), INVALID)
def test_an_invalid_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidWebhook, match=message):
        check_url(url)


@pytest.mark.parametrize("url", PRIVATE)
def test_a_url_that_leads_into_the_own_network_is_not_sent_to(url: str) -> None:
    assert check_url(url) == url
    assert "is no public address" in post(url, {}, b"{}").error


@pytest.mark.parametrize(
    "url",
    [
        "https://hook.example",
        "https://hook.example:8443/a/b?c=d%20e&f=[1]",
        "http://n8n:5678/webhook/abc",
        "https://my_host.example./",
        "https://[2606:4700::1111]/",
    ],
)
def test_a_valid_url_stays_as_it_is(url: str) -> None:
    assert check_url(f" {url} ") == url
