"""Text for nft is made of our templates and of typed values alone."""

from ipaddress import IPv4Address, IPv6Network
from typing import Any

import pytest

from worker.intake.addresses import Protocol
from worker.intake.identifiers import AddressText, InterfaceName
from worker.net.plan.names import GATEWAY_BRIDGE, TUNNEL
from worker.net.plan.ruleset import Nft, anonymous_set, by_name, concatenate, in_base_16, lines, members, word


def test_values_stand_where_the_template_names_them() -> None:
    rule = Nft("ip saddr $from tcp dport ${port}-65535 accept", **{"from": IPv4Address("10.0.0.1"), "port": 80})
    assert rule == "ip saddr 10.0.0.1 tcp dport 80-65535 accept"


def test_names_of_ours_go_without_saying() -> None:
    assert Nft("iifname $tunnel oifname $gateway") == f'iifname "{TUNNEL}" oifname "{GATEWAY_BRIDGE}"'


@pytest.mark.parametrize("value", ["1; add table ip evil", b"x", 1.5, True, None, ["x"]])
def test_what_may_be_any_text_goes_into_no_rule(value: Any) -> None:
    with pytest.raises(TypeError, match="may be any text"):
        Nft("tcp dport $port", port=value)


def test_a_place_without_a_value_is_a_bug() -> None:
    with pytest.raises(KeyError):
        Nft("tcp dport $nowhere")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (InterfaceName("eth0"), '"eth0"'),
        (AddressText("02:00:00:00:00:01"), "02:00:00:00:00:01"),
        (IPv6Network("fd00::/64"), "fd00::/64"),
        (Protocol.TCP, "tcp"),
    ],
)
def test_each_type_is_written_in_its_own_way(value: Any, text: str) -> None:
    assert word(value) == text


def test_pieces_are_joined_as_nft_joins_them() -> None:
    assert concatenate(1, IPv4Address("10.0.0.1")) == "1 . 10.0.0.1"
    assert anonymous_set([word(1), word(2)]) == "{ 1, 2 }"
    assert lines([word(1), word(2)]) == "1\n2\n"
    assert in_base_16(255) == "0xff"


def test_members_have_an_order_of_their_own() -> None:
    assert list(members([word(3), word(1), word(2)])) == ["1", "2", "3"]
    assert by_name(input=1) == {"input": 1}
