"""IPv6 addresses that follow from IPv4 ones."""

from ipaddress import IPv4Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from common.net.addressing import SMALLEST_SUBNET, packed_prefix, with_ipv4


@given(
    st.lists(st.sampled_from([0, 1, 0xFD00, 0xFFFF]) | st.integers(0, 0xFFFF), min_size=6, max_size=6),
    st.integers(1 << 24, (1 << 32) - 1) | st.sampled_from(["10.0.0.0", "10.1.0.0", "1.0.0.1"]),
)
def test_bytes_put_together_are_the_address(groups: list[int], address: int | str):
    first, *others = groups
    prefix = IPv6Network(
        (sum(group << 16 * (7 - n) for n, group in enumerate([first | 0xFC00, *others])), SMALLEST_SUBNET)
    )
    ipv4 = IPv4Address(address)
    assert packed_prefix(prefix) + ipv4.packed == with_ipv4(prefix, ipv4).packed
