"""What the data plane's things are called fits in what the kernel takes, and tells nodes apart."""

import pytest

from worker.intake.identifiers import identifier
from worker.net.plan.names import (
    MARK_MASK,
    WIREGUARD_LINKS,
    bridge_name,
    mark,
    peer_mac,
    wireguard_link,
    wireguard_port,
)


def test_a_bridges_name_fits() -> None:
    name = bridge_name(identifier("0123456789abcdefghijklmno"))
    assert name == "oc-0123456789ab"
    assert len(name) <= 15


def test_every_node_has_its_own_hardware_address_and_mark() -> None:
    numbers = range(1, 4096)
    assert len({peer_mac(number) for number in numbers}) == len(numbers)
    assert len({mark(number) for number in numbers}) == len(numbers)
    assert all(mark(number) & MARK_MASK == mark(number) for number in numbers)
    assert peer_mac(258) == "02:6f:63:00:01:02"


@pytest.mark.parametrize("generation", [0, 1, 2, 7])
def test_generations_take_turns(generation: int) -> None:
    assert wireguard_link(generation) == WIREGUARD_LINKS[generation % 2]
    assert wireguard_port(generation) != wireguard_port(generation + 1)
    assert wireguard_port(generation) == wireguard_port(generation + 2)
