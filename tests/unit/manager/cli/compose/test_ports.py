import pytest

from manager.cli.compose.ports import parse_port, same_port


def short(text: str) -> list[tuple[int, int, str, str]]:
    return [(p["target"], p.get("published", 0), p["protocol"], p.get("host_ip", "")) for p in parse_port(text)]


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [(80, 0, "tcp", "")]),
        ("8080:80", [(80, 8080, "tcp", "")]),
        ("53:53/UDP", [(53, 53, "udp", "")]),
        ("80/", [(80, 0, "tcp", "")]),
        ("080", [(80, 0, "tcp", "")]),
        (":80", [(80, 0, "tcp", "")]),
        ("::80", [(80, 0, "tcp", "")]),
        ("127.0.0.1::80", [(80, 0, "tcp", "127.0.0.1")]),
        ("127.0.0.1:8080:80/sctp", [(80, 8080, "sctp", "127.0.0.1")]),
        ("[::1]:8080:80", [(80, 8080, "tcp", "::1")]),
        ("8000-8001:80-81", [(80, 8000, "tcp", ""), (81, 8001, "tcp", "")]),
        ("8000-8002:80", [(80, 8000, "tcp", ""), (80, 8001, "tcp", ""), (80, 8002, "tcp", "")]),
        ("99-101:99-101", [(100, 100, "tcp", ""), (101, 101, "tcp", ""), (99, 99, "tcp", "")]),
    ],
)
def test_the_short_syntax(text: str, ports: list[tuple[int, int, str, str]]) -> None:
    assert short(text) == ports


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/tcp",
        "http",
        "80:http",
        "70000",
        "80-79",
        "1-2:1-3",
        "1.2.3:80:80",
        "host:80:80",
        "::1:80:80",
        "80/icmp",
        "+80",
        " 80",
        "8 0",
        "1-:2",
    ],
)
def test_what_is_no_port_mapping(text: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"is not (a port|an IP address|a range of ports|one of)|no port is given|published ports for",
    ):
        parse_port(text)


def test_an_override_is_told_by_what_it_publishes() -> None:
    tcp, udp = {"target": 53, "published": 53}, {"target": 53, "published": 53, "protocol": "udp"}
    assert same_port(tcp) == same_port({"target": 5353, "published": 53, "mode": "host"})
    assert same_port(tcp) != same_port(udp)
    assert same_port({"target": 80}) != same_port({"target": 81})
