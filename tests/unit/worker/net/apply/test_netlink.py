"""What of the kernel's things is to go."""

from worker.net.apply.netlink import _to_remove
from worker.net.plan.kernel import HardwareAddress, Neighbour
from worker.net.plan.names import BRIDGE_MAC


def test_a_hardware_address_goes_with_its_bridge_unreported():
    assert _to_remove({HardwareAddress("oc-blue", BRIDGE_MAC)}, ()) == []


def test_what_is_replaced_in_place_is_not_removed_first():
    old, new, other = (
        Neighbour("orc-vx", address, mac)
        for address, mac in (
            ("10.0.0.2", "02:00:00:00:00:01"),
            ("10.0.0.2", "02:00:00:00:00:02"),
            ("10.0.0.3", "02:00:00:00:00:03"),
        )
    )
    assert _to_remove({old, other}, {new}) == [other]
