"""crm.wordpress.authorize: the URLs to which a browser may take an application password."""

import pytest

from crm.wordpress.authorize import InvalidURL, return_url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://EXAMPLE.com:8443/a/b?c=d&e=f#g",
        "https://xn--bcher-kva.example/",
        "http://localhost:3000/back",
        "http://127.0.0.1/",
        "http://127.9.9.9:1/",
        "http://[::1]:3000/",
    ],
)
def test_https_and_the_machine_of_the_admin_user_are_accepted(url: str) -> None:
    accepted = return_url({"success_url": url}, "success_url")
    assert accepted is not None
    assert accepted.geturl() == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://localhost.example.com/",
        "http://127.0.0.1.example.com/",
        "http://[::2]/",
        "http://0.0.0.0/",
        "myapp://callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "//example.com/",
        "/admin/",
        "example.com",
        "https:///path",
        "https://",
        "https:example.com",
        "https://user@example.com/",
        "https://shop.example.com:x@evil.example/",
        "https://evil.example\\@shop.example.com/",
        "https://shop.example.com%2eevil.example/",
        "https://bücher.example/",
        "https://example.com/a b",
        " https://example.com/",
        "https://example.com/\r\nSet-Cookie: a=b",
        "https://exam\tple.com/",
        "https://[::1/",
        "https://example.com/" + "x" * 2000,
        "\0",
    ],
)
def test_other_urls_are_rejected(url: str) -> None:
    with pytest.raises(InvalidURL):
        return_url({"success_url": url}, "success_url")
