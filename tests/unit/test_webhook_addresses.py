"""Which addresses webhooks may be sent to."""

import socket
import time
from ipaddress import ip_address, ip_network
from threading import Event
from typing import Any

import pytest
from pytest_django import Settings as SettingsFixture

from automations.webhooks.addresses import Blocked, LookupFailed, is_public, permitted_addresses

NOT_PUBLIC = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),  # noqa: S104
    *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192"),
    *("192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:20::1", "2001:db8::1"),
    *("2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1"),
    *("ff02::1", "fe80::1%eth0"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]


def resolved(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """Let every name lead to these addresses."""
    rows = [(None, None, 0, "", (address, 443)) for address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)


def permitted(scheme: str = "https", host: str = "hook.example") -> list[str]:
    return permitted_addresses(scheme, host, 443, time.monotonic() + 5)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("found", [["10.0.0.1", "1.1.1.1"], ["1.1.1.1", "10.0.0.1"]])
def test_one_private_address_among_others_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    resolved(monkeypatch, *found)
    with pytest.raises(Blocked, match="TALLYBOOK_WEBHOOK_ALLOWED_HOSTS"):
        permitted()


def test_a_public_receiver_needs_https(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(monkeypatch, "1.1.1.1")
    assert permitted("https") == ["1.1.1.1"]
    with pytest.raises(Blocked, match=r"https:.*TALLYBOOK_WEBHOOK_ALLOWED_HOSTS"):
        permitted("http")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("WEBHOOK_ALLOWED_HOSTS", ["hook.example"]),
        ("WEBHOOK_ALLOWED_NETS", [ip_network("10.0.0.0/24")]),
    ],
)
def test_a_setting_allows_a_private_receiver_and_http(
    monkeypatch: pytest.MonkeyPatch, settings: SettingsFixture, setting: str, value: Any
) -> None:
    setattr(settings, setting, value)
    resolved(monkeypatch, "10.0.0.1")
    assert permitted("http") == ["10.0.0.1"]


def test_a_setting_allows_no_other_host_and_net(
    monkeypatch: pytest.MonkeyPatch, settings: SettingsFixture
) -> None:
    settings.WEBHOOK_ALLOWED_HOSTS = ["example"]
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("10.0.0.0/24")]
    resolved(monkeypatch, "10.0.0.1", "10.0.1.1")
    with pytest.raises(Blocked, match=r"10\.0\.1\.1"):
        permitted()


def test_a_look_up_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: waiting.wait() and [])
    with pytest.raises(LookupFailed, match="takes too long"):
        permitted_addresses("https", "hook.example", 443, time.monotonic() + 0.02)
    waiting.set()


def test_a_name_without_an_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(monkeypatch)
    with pytest.raises(LookupFailed, match=r"hook\.example leads to no address"):
        permitted()
