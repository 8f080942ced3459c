"""What `init` says of the address that is advertised."""

import pytest

from manager.init import foreign_address


@pytest.mark.parametrize("address", ["127.0.0.1:2377", "[::1]:2377"])
def test_an_address_of_this_host_is_fine(address: str) -> None:
    assert foreign_address(address) == ""


@pytest.mark.parametrize("address", ["192.0.2.1:2377", "[2001:db8::1]:2377"])
def test_an_address_of_another_host_is_warned_of(address: str) -> None:
    assert "is not an address of this host: other hosts find the manager only where" in foreign_address(address)
