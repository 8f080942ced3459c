"""Flags of `network create`."""

import pytest

from common.errors import InvalidArgument
from manager.cli.network.network import ipam_configs


def test_address_ranges_go_to_the_subnet_that_holds_them():
    configs = ipam_configs(
        ["10.1.0.0/16", "2001:db8::/64"], ["10.1.2.0/24"], ["2001:db8::1", "10.1.0.1"], {"router": "10.1.0.9"}
    )
    assert configs == [
        {
            "Subnet": "10.1.0.0/16",
            "IPRange": "10.1.2.0/24",
            "Gateway": "10.1.0.1",
            "AuxiliaryAddresses": {"router": "10.1.0.9"},
        },
        {"Subnet": "2001:db8::/64", "Gateway": "2001:db8::1"},
    ]
    for subnets, ranges, gateways in (
        (["10.0.0.0/8", "10.1.0.0/16"], [], []),
        (["10.0.0.0/8"], ["11.0.0.0/24"], []),
        (["10.0.0.0/8"], [], ["10.0.0.1", "10.0.0.2"]),
        (["x"], [], []),
    ):
        with pytest.raises(InvalidArgument):
            ipam_configs(subnets, ranges, gateways, {})
