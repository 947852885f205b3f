"""Look up the addresses of a receiver, and reject those that are not public.

Who writes an automation chooses URLs. Without this, the server would send requests into the network
that it stands in, such as to the credentials of a cloud machine at 169.254.169.254.
"""

import queue
import socket
import threading
import time
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings

Address = IPv4Address | IPv6Address

# IANA's registries of special-purpose addresses. `is_global` of older Pythons lacks some of them.
CLOSED_IPV4 = [
    ip_network(net)
    for net in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # Azure answers its machines there, although it is no special address.
        "168.63.129.16/32",
    )
]
# The addresses that IANA assigns to hosts of the Internet, without NAT64 and IPv4 in IPv6.
GLOBAL_IPV6 = ip_network("2000::/3")
CLOSED_IPV6 = [
    # Teredo, ORCHID, benchmarks. Documentation, 6to4, AS112, documentation.
    *(ip_network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48")),
    ip_network("3fff::/20"),
]


class Blocked(Exception):
    """A receiver that Tallybook does not send to. The message names the setting that allows it."""


class LookupFailed(Exception):
    """The name of a receiver leads to no address, or the look-up takes too long."""


def is_public(address: Address) -> bool:
    """Return whether an address is one of the Internet, and no special one."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in net for net in CLOSED_IPV4)
    return (
        address.is_global
        and address in GLOBAL_IPV6
        and not any(address in net for net in CLOSED_IPV6)
    )


def permitted_addresses(scheme: str, host: str, port: int, until: float) -> list[str]:
    """Look a name up once, and return its addresses, to connect to one of them and to no other.

    Args:
        scheme: https, or http, which is for receivers that a setting allows.
        host: of the URL, in lower case.
        port: of the URL.
        until: when the look-up has to end, by time.monotonic().

    Raises:
        Blocked: the setting does not allow the receiver.
        LookupFailed: there is no address.
    """
    addresses = _look_up(host, port, until)
    if host in settings.WEBHOOK_ALLOWED_HOSTS:
        return [str(address) for address in addresses]
    for address in addresses:
        if any(address in net for net in settings.WEBHOOK_ALLOWED_NETS):
            continue
        # All have to be public, because the next look-up may return another order.
        if not is_public(address):
            raise Blocked(
                f"{host} leads to {address}, which is no public address. Who runs Tallybook can "
                "allow it by TALLYBOOK_WEBHOOK_ALLOWED_HOSTS or TALLYBOOK_WEBHOOK_ALLOWED_NETS."
            )
        if scheme != "https":
            raise Blocked(
                "The URL has to begin with https:. Who runs Tallybook can allow http: to a host by "
                "TALLYBOOK_WEBHOOK_ALLOWED_HOSTS or TALLYBOOK_WEBHOOK_ALLOWED_NETS."
            )
    return [str(address) for address in addresses]


def _look_up(host: str, port: int, until: float) -> list[Address]:
    # getaddrinfo has no time-out, so a thread waits for it and may outlive the attempt.
    found: queue.Queue[list[Address] | OSError | UnicodeError] = queue.Queue()

    def run() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            texts = dict.fromkeys(str(row[4][0]) for row in rows)
            found.put([ip_address(text) for text in texts])
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=run, name="webhook-lookup", daemon=True).start()
    try:
        addresses = found.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        raise LookupFailed(f"The look-up of {host} takes too long.") from None
    if isinstance(addresses, Exception) or not addresses:
        raise LookupFailed(f"{host} leads to no address.")
    return addresses
