import asyncio
import os
import socket

import pytest

from common.process.daemon import Notifier


@pytest.fixture
def received(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(1)
        yield server


def environment(received, **more):
    return {"NOTIFY_SOCKET": received.getsockname(), **more}


def test_ready_carries_the_status(received):
    Notifier.from_environment(environment(received)).ready("3 tasks")
    assert received.recv(200) == b"READY=1\nSTATUS=3 tasks"


def test_stopping_and_status(received):
    notifier = Notifier.from_environment(environment(received))
    notifier.status("x")
    notifier.stopping()
    assert [received.recv(200), received.recv(200)] == [b"STATUS=x", b"STOPPING=1"]


def test_without_systemd_nothing_happens():
    notifier = Notifier.from_environment({})
    notifier.ready()
    assert notifier.watchdog == 0


def test_the_watchdog_of_another_process_is_not_ours():
    assert Notifier.from_environment({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog == 0
    assert Notifier.from_environment({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}).watchdog == 3


async def test_keep_alive_pings_within_the_period(received):
    notifier = Notifier.from_environment(environment(received, WATCHDOG_USEC="40000"))
    pinger = asyncio.create_task(notifier.keep_alive())
    pings = [await asyncio.to_thread(received.recv, 200) for _ in range(3)]
    pinger.cancel()
    assert pings == [b"WATCHDOG=1"] * 3


def test_an_abstract_socket(received):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0swarm-test-{os.getpid()}")
        Notifier(f"@swarm-test-{os.getpid()}").stopping()
        assert server.recv(100) == b"STOPPING=1"


def test_a_listener_that_has_gone_is_no_error(tmp_path):
    Notifier(str(tmp_path / "gone")).ready()
    Notifier("@swarm-test-nobody-listens").stopping()
