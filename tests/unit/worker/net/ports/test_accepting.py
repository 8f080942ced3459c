"""Connections wait where there is nothing left to accept them with, and do not keep the worker busy meanwhile."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator

import pytest

from worker.net.ports import accepting
from worker.net.ports.accepting import Acceptor


class Listening(socket.socket):
    """A listening socket whose `accept` fails with each of `failures` first."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[int] = []
        self.asked = 0
        self.setblocking(False)
        self.bind(("127.0.0.1", 0))
        self.listen()

    def accept(self):
        self.asked += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    with Listening() as bound:
        yield bound


async def connect(listening: Listening) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
    return client


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_cannot_be_accepted_is_not_asked_for_again_at_once(listening, monkeypatch, caplog) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 3600.0)
    listening.failures = [errno.EMFILE]
    acceptor = Acceptor(listening, lambda *_: pytest.fail("nothing was accepted"), "the name server at 10.0.0.1")
    with await connect(listening):
        await turns()
        assert listening.asked == 1
        acceptor.end()
    (record,) = caplog.records
    assert record.getMessage() == (
        "cannot accept connections to the name server at 10.0.0.1: this process has reached its "
        "limit of open files: raise LimitNOFILE= of its unit; trying again every 3600 s"
    )


async def test_it_is_accepted_when_it_can_be_and_the_lack_is_said_once(listening, monkeypatch, caplog) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.001)
    listening.failures = [errno.EMFILE, errno.ENFILE, errno.ENOMEM]
    taken: asyncio.Queue[socket.socket] = asyncio.Queue()
    acceptor = Acceptor(listening, lambda connection, _: taken.put_nowait(connection), "it")
    async with asyncio.timeout(10):
        with await connect(listening), await taken.get():
            assert (listening.asked, len(caplog.records)) == (4, 1)
            listening.failures = [errno.ENOBUFS]
            with await connect(listening), await taken.get():
                assert len(caplog.records) == 2
    acceptor.end()


async def test_one_that_has_gone_again_is_no_lack(listening, caplog) -> None:
    listening.failures = [errno.ECONNABORTED]
    taken: asyncio.Queue[socket.socket] = asyncio.Queue()
    acceptor = Acceptor(listening, lambda connection, _: taken.put_nowait(connection), "it")
    async with asyncio.timeout(10):
        with await connect(listening), await taken.get():
            assert not caplog.records
    acceptor.end()


async def test_after_its_end_nothing_is_accepted(listening, monkeypatch) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.0)
    listening.failures = [errno.EMFILE]
    acceptor = Acceptor(listening, lambda *_: pytest.fail("it was ended"), "it")
    with await connect(listening):
        while listening.failures:
            await asyncio.sleep(0)
        acceptor.end()
        acceptor.end()
        await turns()
    assert listening.asked == 1
