"""Devices and GPUs as compose files and flags write them."""

import pytest

from common.model.engine_options import DeviceRequest
from manager.cli.compose.short_syntax import parse_count, parse_gpus, parse_port, parse_volume, same_port
from tests.unit.manager.cli.compose.loading import WEB, refusal


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("/data", {"type": "volume", "target": "/data"}),
        ("/", {"type": "volume", "target": "/"}),
        ("data:/data", {"type": "volume", "source": "data", "target": "/data"}),
        ("d:/data", {"type": "volume", "source": "d", "target": "/data"}),
        ("./a:/b:ro", {"type": "bind", "source": "./a", "target": "/b", "read_only": True}),
        ("~/a:/b", {"type": "bind", "source": "~/a", "target": "/b"}),
        ("data:/d:nocopy", {"type": "volume", "source": "data", "target": "/d", "volume": {"nocopy": True}}),
        ("/a:/b:rshared,z", {"type": "bind", "source": "/a", "target": "/b", "bind": {"propagation": "rshared"}}),
        ("C:\\x:/y", {"type": "bind", "source": "C:\\x", "target": "/y"}),
        ("\\\\.\\pipe\\x:/y", {"type": "bind", "source": "\\\\.\\pipe\\x", "target": "/y"}),
    ],
)
def test_the_short_syntax(text: str, entry: dict[str, object]) -> None:
    parsed = {key: value for key, value in parse_volume(text).items() if value}
    assert parsed == entry


@pytest.mark.parametrize("text", ["", ":", "a:", ":a", "data:", ":/data", "a1::b", "./a:/b:ro:rw", ":" * 1_000_000])
def test_what_is_no_volume(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty$|too many colons$"):
        parse_volume(text)


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
def test_ports_the_short_syntax(text: str, ports: list[tuple[int, int, str, str]]) -> None:
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


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", DeviceRequest(count=-1, capabilities=(("gpu",),))),
        ("2", DeviceRequest(count=2, capabilities=(("gpu",),))),
        (
            'driver=nvidia,"device=0,1"',
            DeviceRequest(driver="nvidia", count=0, device_ids=("0", "1"), capabilities=(("gpu",),)),
        ),
        (
            '"capabilities=gpu,utility"',
            DeviceRequest(count=1, capabilities=(("gpu", "utility"),)),
        ),
    ],
)
def test_gpus_are_read_as_docker_reads_them(text: str, request_: DeviceRequest) -> None:
    assert parse_gpus(text) == request_


@pytest.mark.parametrize("text", ["some", "count=1,count=2", "count=1,device=0", "model=x", "-2"])
def test_what_asks_for_no_gpus_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="count"):
        parse_gpus(text)


def test_a_count_is_a_number_or_all() -> None:
    assert [parse_count(text) for text in ("all", "-1", "0", "8")] == [-1, -1, 0, 8]
    with pytest.raises(ValueError, match='"many" is not a count'):
        parse_count("many")


def test_no_service_publishes_more_ports_than_there_are() -> None:
    ports = "".join(f"      - 10.0.0.{number}:1-65535:1-65535\n" for number in range(1, 200))
    (problem,) = refusal(f"{WEB}    ports:\n{ports}")
    assert problem.endswith("services.web.ports[3]: the service publishes more than 196605 ports")
