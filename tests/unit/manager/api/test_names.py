"""Which names objects may have, in the engine's words."""

import random

import pytest

from common.errors import InvalidArgument
from manager.api.names import check_dns_name, check_file_name, random_name


@pytest.mark.parametrize("name", ["a", "web-1", "Shop_web", "9", "a" * 63])
def test_services_and_networks_can_be_called_so(name: str) -> None:
    check_dns_name(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "must be provided"),
        ("a.b", "DNS name component"),
        ("-a", "DNS name component"),
        ("a-", "DNS name component"),
        ("a\n", "DNS name component"),
        ("é", "DNS name component"),
        ("a" * 64, "63 characters or fewer"),
    ],
)
def test_services_and_networks_cannot_be_called_so(name: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check_dns_name(name)


def test_files_may_have_dots() -> None:
    check_file_name("site.conf")
    for name in ("", ".conf", "a/b", "a" * 65):
        with pytest.raises(InvalidArgument):
            check_file_name(name)


def test_a_made_up_name_is_one_that_a_service_can_have() -> None:
    for seed in range(50):
        check_dns_name(random_name(random.Random(seed)))
