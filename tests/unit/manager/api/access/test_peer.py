"""Who is at the other end: by the kernel's word on a unix socket, nobody on a bare TCP connection."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.model.client import Role
from manager.api.access.peer import caller_of
from manager.api.access.roles import NOBODY, Caller


class Transport:
    """What asyncio tells of a connection."""

    def __init__(self, **extra: object) -> None:
        self._extra = extra

    def get_extra_info(self, name: str) -> Any:
        return self._extra.get(name)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))
        served, _ = listener.accept()
        with served:
            yield served, client


def test_whoever_could_open_the_socket_is_an_administrator(ends: tuple[socket.socket, socket.socket]) -> None:
    caller, until = caller_of(Transport(socket=ends[0]))  # type: ignore[arg-type]
    assert (caller.role, caller.uid, caller.pid, until) == (Role.ADMIN, os.getuid(), os.getpid(), 0.0)


def test_a_connection_without_a_certificate_is_nobodys() -> None:
    with socket.socket(socket.AF_INET) as tcp:
        assert caller_of(Transport(socket=tcp)) == (NOBODY, 0.0)  # type: ignore[arg-type]
    assert caller_of(Transport()) == (NOBODY, 0.0)  # type: ignore[arg-type]


class Tls:
    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        assert binary_form
        return None


def test_a_tls_peer_that_showed_no_certificate_is_nobody() -> None:
    transport: asyncio.BaseTransport = Transport(ssl_object=Tls(), peername=("10.0.0.9", 5))  # type: ignore[assignment]
    assert caller_of(transport) == (Caller("nobody", "10.0.0.9:5"), 0.0)
