"""What `container` and `exec` print and send, without a manager."""

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.errors import SwarmError
from manager.cli.client import Client
from manager.cli.container.exec import join
from manager.cli.container.rows import CONTAINERS, port_lines, rows
from manager.cli.container.stats import STATS, cpu_percent, row, unknown
from manager.cli.container.streams import frames, open_stream
from manager.cli.endpoint import Endpoint
from manager.cli.failures import ApiError, CannotConnect
from manager.cli.root import cli

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


def test_stats() -> None:
    stats = {
        "id": "b" * 64,
        "name": "/db",
        "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
        "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
        "memory_stats": {"usage": 3 << 20, "limit": 1 << 30, "stats": {"inactive_file": 1 << 20}},
        "networks": {"eth0": {"rx_bytes": 1500, "tx_bytes": 0}},
        "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 10}, {"op": "write", "value": 7}]},
        "pids_stats": {"current": 4},
    }
    assert cpu_percent(stats) == pytest.approx(40.0)
    shown = row(stats, "db")
    assert (shown["Container"], shown["ID"], row(stats, "db", no_trunc=True)["ID"]) == ("db", "b" * 12, "b" * 64)
    assert (shown["MemUsage"], shown["MemPerc"]) == ("2MiB / 1GiB", "0.20%")
    assert (shown["NetIO"], shown["BlockIO"], shown["PIDs"]) == ("1.5kB / 0B", "10B / 7B", "4")
    assert "db" in STATS.render([shown])
    assert STATS.render([unknown("web")]).split()[-10:] == ["web", "--", "--", "--", "/", "--", "--", "--", "--", "--"]
    # A container that does not run has no sample.
    assert cpu_percent({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "precpu_stats": {}}) == 0.0


async def test_a_refusal_is_the_managers_words(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"POST /exec/e1/start HTTP/1.1\r\n" in head
        body = b'{"message":"container is paused"}'
        writer.write(b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_unix_server(refuse, tmp_path / "s")
    with pytest.raises(ApiError, match="Error response from daemon: container is paused"):
        async with Client(Endpoint(f"unix://{tmp_path}/s")) as client:
            await open_stream(client, "/exec/e1/start", {})
    server.close()
    with pytest.raises(CannotConnect):
        async with Client(Endpoint(f"unix://{tmp_path}/none")) as client:
            await open_stream(client, "/exec/e1/start", {})


async def test_output_is_taken_apart(capfd: pytest.CaptureFixture[str]) -> None:
    reader = asyncio.StreamReader()
    for channel, text in ((1, b"out\n"), (2, b"err\n"), (1, b"more\n")):
        reader.feed_data(bytes((channel, 0, 0, 0)) + len(text).to_bytes(4, "big") + text)
    reader.feed_eof()
    await join(reader, writer=None, stdin=False, terminal=False)  # type: ignore[arg-type]  # nothing is sent
    assert capfd.readouterr() == ("out\nmore\n", "err\n")


async def test_an_output_that_is_cut_off_ends() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"\1\0\0\0\0\0\0\4out\n" + b"\1\0\0")
    reader.feed_eof()
    assert [frame async for frame in frames(reader)] == [(1, b"out\n")]


async def test_input_ends_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(listen, tmp_path / "s")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    text = tmp_path / "text"
    text.write_bytes(b"a dump\n" * 50_000)
    with text.open("rb") as file:
        monkeypatch.setattr("sys.stdin", os.fdopen(os.dup(file.fileno())))
        await join(reader, writer, stdin=True, terminal=True)
        import sys

        sys.stdin.close()
    assert await heard == b"a dump\n" * 50_000
    writer.close()
    server.close()


def test_exec_takes_the_commands_own_flags_as_they_are() -> None:
    result = CliRunner().invoke(cli, ["-H", "unix:///nowhere", "exec", "web", "ls", "-l", "--all"])
    assert isinstance(result.exception, SwarmError | SystemExit)
    assert "unknown flag" not in result.output


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


COMMANDS = """attach diff inspect kill logs ls pause port prune rename restart rm start stats stop top unpause wait"""


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(cli, ["container", command, "--help"])
    assert (result.exit_code, "Examples:" in result.output) == (0, True)
