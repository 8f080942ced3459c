"""A container's row: where it is, and which ports it publishes."""

from manager.cli.container.rows import CONTAINERS, port_lines, rows

ENTRY = {
    "Id": "a" * 64,
    "Names": ["/web"],
    "Image": "nginx",
    "Command": "nginx -g 'daemon off;'",
    "Created": 1_700_000_000,
    "State": "running",
    "Status": "Up 5 minutes",
    "Ports": [
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ],
    "Labels": {"swarm.x.node": "h2", "tier": "front"},
}


def test_a_row_says_where_the_container_is() -> None:
    [found] = rows([ENTRY], 1_700_000_300.0, no_trunc=False)
    assert found["Node"] == "h2"
    assert found["Labels"] == "tier=front"
    assert found["Ports"] == "0.0.0.0:8080->80/tcp, 443/tcp, [::]:8080->80/tcp"
    assert (found["ID"], found["Names"], found["RunningFor"]) == ("a" * 12, "web", "5 minutes ago")
    assert CONTAINERS.render([found]).splitlines()[0].split()[-2:] == ["NODE", "NAMES"]


def test_published_ports() -> None:
    ports = {
        "443/tcp": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "9/udp": [{"HostIp": "0.0.0.0", "HostPort": "9"}],
    }
    every = ["9/udp -> 0.0.0.0:9", "80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]
    assert port_lines(ports, None) == every
    assert port_lines(ports, "80") == ["0.0.0.0:8080", "[::]:8080"]
    assert port_lines(ports, "9/udp") == ["0.0.0.0:9"]
    assert port_lines(ports, "9") == port_lines(ports, "443/tcp") == []
