"""Ports as `--publish` and `--publish-rm` name them."""

import pytest

from common.model.service import PortConfig
from manager.cli.flags.publish import matching_ports, parse_publish


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [PortConfig(target_port=80)]),
        ("8080:80/udp", [PortConfig(target_port=80, published_port=8080, protocol="udp")]),
        (
            "8080-8081:80-81",
            [PortConfig(target_port=80, published_port=8080), PortConfig(target_port=81, published_port=8081)],
        ),
        ("127.0.0.1:8080:80", [PortConfig(target_port=80, published_port=8080, host_ip="127.0.0.1")]),
        (
            "published=8080,target=80,mode=host,protocol=SCTP",
            [PortConfig(target_port=80, published_port=8080, publish_mode="host", protocol="sctp")],
        ),
    ],
)
def test_ports(text: str, ports: list[PortConfig]):
    assert list(parse_publish(text)) == ports


@pytest.mark.parametrize(
    "text", ["x", "99999", "8080:80/icmp", "published=1", "target=x", "target=1,mode=odd", "target=1,no=2", "1-3:1-2"]
)
def test_wrong_ports(text: str):
    with pytest.raises(ValueError, match=r"\w"):
        parse_publish(text)


def test_a_port_is_removed_by_target_protocol_and_mode():
    (removed,) = parse_publish("80")
    (other,) = parse_publish("9000:80/udp")
    port = PortConfig(target_port=80, published_port=9000)
    assert matching_ports([port, other], removed) == [port]
    assert matching_ports([other], removed) == []


def test_the_named_published_port_of_a_shared_target_is_removed():
    ports = [PortConfig(target_port=80, published_port=number) for number in (8080, 8090)]
    for text, gone in (
        ("8090:80", ports[1:]),
        ("published=8080,target=80", ports[:1]),
        ("80", ports),
        ("9999:80", ports),
    ):
        (removed,) = parse_publish(text)
        assert matching_ports(ports, removed) == gone, text
