"""The kernel's table of connections: when it is full; and which ports are listened on, asked of a real kernel."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from worker.net.watch.connections import SOCK_DIAG, Connections, listening, ports


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "net/netfilter").mkdir(parents=True)
    return tmp_path


def fill(proc: Path, count: int, most: int = 1000) -> None:
    (proc / "net/netfilter/nf_conntrack_count").write_text(f"{count}\n")
    (proc / "net/netfilter/nf_conntrack_max").write_text(f"{most}\n")


def test_it_is_full_from_90_percent_on_until_it_is_below_80(table: Path):
    connections = Connections(table)
    said = []
    for count in (100, 900, 901, 850, 800, 799, 850):
        fill(table, count)
        connections.check()
        said.append(bool(connections.lacks()))
    assert said == [False, False, True, True, True, False, False]


def test_it_is_told_with_what_to_do_and_logged_once(table: Path, caplog: pytest.LogCaptureFixture):
    connections = Connections(table)
    for count in (950, 960):
        fill(table, count)
        connections.check()
    (sentence,) = connections.lacks()
    assert "nf_conntrack_max (now 1000)" in sentence
    assert caplog.messages == [sentence]
    fill(table, 960, most=4000)
    connections.check()
    assert connections.lacks() == ()


def test_a_kernel_without_the_table_has_no_full_one(tmp_path: Path):
    connections = Connections(tmp_path)
    connections.check()
    assert connections.lacks() == ()


def listener(family: int, address: str) -> socket.socket:
    return socket.create_server((address, 0), family=family)


def test_ports_that_others_reach_are_reported_but_not_loopbacks() -> None:
    mapped = socket.socket(socket.AF_INET6)
    mapped.bind(("::ffff:127.0.0.1", 0))
    mapped.listen()
    with (
        listener(socket.AF_INET, "0.0.0.0") as everywhere,
        listener(socket.AF_INET, "127.0.0.1") as here,
        listener(socket.AF_INET6, "::") as everywhere6,
        listener(socket.AF_INET6, "::1") as here6,
        mapped,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel,
    ):
        found = ports(kernel)
        number = {each: each.getsockname()[1] for each in (everywhere, here, everywhere6, here6, mapped)}
        assert {number[everywhere], number[everywhere6]} <= found
        assert not {number[here], number[here6], number[mapped]} & found
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as kernel:
        assert number[everywhere] not in ports(kernel)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it enters a network")
async def test_the_network_of_a_process_is_entered() -> None:
    with listener(socket.AF_INET, "0.0.0.0") as everywhere:
        assert everywhere.getsockname()[1] in await listening(os.getpid())


async def test_a_process_that_has_ended_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        await listening(1 << 30)
