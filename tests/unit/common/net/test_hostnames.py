"""Which texts can be a host's name, and when two are one."""

import pytest

from common.net.hostnames import fold, is_hostname, same_name


@pytest.mark.parametrize("name", ["a", "web-1", "node_2.example.org", "9front", "a" * 253])
def test_hosts_can_be_called_so(name: str) -> None:
    assert is_hostname(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", ".a", "a.", "a b", "a/b", "a\n", "é", "a" * 254, "a\x1bb"])
def test_no_host_can_be_called_so(name: str) -> None:
    assert not is_hostname(name)


def test_case_makes_no_other_host() -> None:
    assert same_name("Web-1", "wEB-1")
    assert not same_name("web-1", "web-2")
    assert fold("Web") == fold("WEB")
