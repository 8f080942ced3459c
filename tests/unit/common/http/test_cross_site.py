"""What a browser sends for a page of another site is told from what it sends for our own."""

import pytest

from common.http.cross_site import cross_site_header

HTTPS = ("https",)


def foreign(site: str = "", origin: str = "", host: str = "m.example:2376") -> str:
    return cross_site_header([site] if site else [], [origin] if origin else [], host, HTTPS)


def test_what_has_no_such_header_is_of_no_site() -> None:
    assert foreign() == ""


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_pages_and_a_typed_address_pass(site: str) -> None:
    assert foreign(site, "https://m.example:2376") == ""


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "x" * 200])
def test_every_other_site_is_foreign(site: str) -> None:
    found = cross_site_header([site], [], "m.example", HTTPS)
    assert found.startswith("Sec-Fetch-Site: ")
    assert len(found) < 100


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://m.example",  # another port is another origin
        "http://m.example:2376",
        "https://m.example:2376/page",
        "https://user@m.example:2376",
        "https://m.example:port",
        "null",
    ],
)
def test_an_origin_is_ours_only_to_the_letter(origin: str) -> None:
    assert foreign("", origin) == f"Origin: {origin}"


def test_the_port_of_a_scheme_goes_without_saying() -> None:
    assert foreign("", "https://m.example", "m.example:443") == ""
    assert foreign("", "https://m.example:443", "m.example") == ""


def test_one_foreign_value_of_several_is_enough() -> None:
    assert cross_site_header(["none", "cross-site"], [], "m", HTTPS) == "Sec-Fetch-Site: cross-site"
