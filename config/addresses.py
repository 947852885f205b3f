"""Tell where a request comes from."""

from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """Return the address that a request comes from, as `origin` does."""
    meta = request.META
    return origin(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""))


def origin(remote: str, forwarded: str) -> str | None:
    """Return the address that a request comes from.

    Each of the settings.PROXIES adds the address before it to X-Forwarded-For. The client chooses
    what comes before those. An IPv6 address stands for its /64, because one client has all of it.

    Args:
        remote: the address of the connection.
        forwarded: the header X-Forwarded-For, or "".
    """
    candidates = [remote]
    if settings.PROXIES:
        candidates.insert(0, forwarded.split(",")[-settings.PROXIES :][0])
    for candidate in candidates:
        try:
            address = ip_address(_without_port(candidate.strip()))
        except ValueError:
            continue
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64)
        return str(address)
    return None


def _without_port(address: str) -> str:
    """Return the address of "192.0.2.1:80" or "[2001:db8::1]:80"."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
