from __future__ import annotations

import os
import socket

import pytest

from worker.net.watch.listening import SOCK_DIAG, listening, ports


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
