"""Joins that fail on the host after the manager has taken them: it hears of it, and nothing is left on either side."""

import asyncio
import errno
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from common.clock import SystemClock
from common.errors import AlreadyExists, FailedPrecondition, PermissionDenied, Unavailable
from common.tls import ROLE_WORKER, CredentialFiles, Identity, certificate_request, new_key
from common.wire.client import Membership
from common.wire.handshake import refusal
from common.wire.membership_messages import Withdraw
from common.wire.messages import LeaveAck
from common.wire.server import serve
from manager.ca.authority import new_serial
from tests.fakes.certificates import DAY, Pki
from tests.fakes.engine import FakeEngine, Program
from worker.config import DataDir
from worker.host import background
from worker.host.join import JoinOptions, become_member, take_back_unless_settled, warning
from worker.host.leave import Told, undo
from worker.interfaces.engine import LABEL_AGENT, EngineError

TOKEN = f"SWMTKN-1-{'a' * 50}-{'b' * 25}"


class Manager:
    """A manager that takes joins back; `heard` has who asked for it."""

    def __init__(self, pki):
        self.pki = pki
        self.heard = []
        self.port = 0
        self.warnings = ()
        self.data_path_port = 0
        self.engine = {"Name": "host"}
        self.removed = False

    async def handle(self, channel):
        number, message = await channel.receive()
        assert isinstance(message, Withdraw)
        if self.removed:
            await channel.send(refusal(PermissionDenied("node n1 was removed from the cluster")))
            return
        self.heard.append(channel.peer.identity.node_id)
        await channel.send(LeaveAck(), number)

    def membership(self):
        key, identity = new_key(), Identity("n1", ROLE_WORKER, self.pki.authority.cluster_id, new_serial())
        chain = self.pki.authority.issue(certificate_request(key), identity, 90 * DAY, SystemClock().now(), [])
        root = self.pki.authority.root_certificate
        managers = (f"127.0.0.1:{self.port}",)
        return Membership(
            "n1", identity.cluster_id, chain, key, root, managers, self.warnings, data_path_port=self.data_path_port
        )


@pytest.fixture
def manager(tmp_path, monkeypatch):
    made = Manager(Pki(tmp_path / "pki"))

    async def accept(*_):
        return made.membership()

    async def info(_):
        return made.engine

    monkeypatch.setattr("worker.host.join.join", accept)
    monkeypatch.setattr("worker.host.join.engine_info", info)
    return made


@pytest.fixture
def data(tmp_path):
    return DataDir(tmp_path / "worker")


def join_request(tmp_path):
    return JoinOptions(manager="127.0.0.1", token=TOKEN, docker_host=f"unix://{tmp_path}/no-engine.sock")


async def listening(manager):
    server = await serve("127.0.0.1", 0, manager.pki.server(), manager.handle)
    manager.port = server.port
    return server


def ending(error):
    def end(*_, **__):
        raise error

    return end


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
async def test_an_identity_that_cannot_be_stored_is_given_back(manager, data, tmp_path, monkeypatch, error):
    write = CredentialFiles.write

    def fail_there(files, *arguments):
        if files.directory.is_relative_to(data.path):
            raise error
        write(files, *arguments)

    monkeypatch.setattr(CredentialFiles, "write", fail_there)
    async with await listening(manager):
        expected = Unavailable if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            await become_member(data, join_request(tmp_path))
    assert expected is KeyboardInterrupt or "No space left on device" in str(caught.value)
    assert manager.heard == ["n1"]
    assert not data.path.exists()


async def test_what_the_manager_warns_of_at_a_join_is_told(manager, data, tmp_path):
    manager.warnings = ("node x has the host name alpha already\x1b[2J",)
    told = []
    async with await listening(manager):
        await become_member(data, join_request(tmp_path), told.append)
    assert told == ["node x has the host name alpha already\ufffd[2J"]


@pytest.mark.parametrize(("address", "count"), [("", 0), ("127.0.0.1", 0), ("203.0.113.9", 1)])
async def test_an_address_that_this_host_lacks_is_warned_of(manager, data, tmp_path, address, count):
    told = []
    async with await listening(manager):
        await become_member(data, replace(join_request(tmp_path), advertise_addr=address), told.append)
    assert [each[:66] for each in told] == [f"--advertise-addr {address} is not an address of this host: other"] * count


async def test_a_host_whose_tunnel_port_docker_swarm_has_does_not_join(manager, data, tmp_path):
    manager.engine = {"Name": "host", "Swarm": {"LocalNodeState": "active"}}
    async with await listening(manager):
        with pytest.raises(
            FailedPrecondition, match=r"UDP port 4789.*'docker swarm leave', or .* --data-path-port PORT"
        ):
            await become_member(data, join_request(tmp_path))
        assert manager.heard == ["n1"]
        assert not data.path.exists()
        manager.data_path_port, told = 4790, []
        await become_member(data, join_request(tmp_path), told.append)
    assert [sentence[:54] for sentence in told] == ["this host's engine is a node of a Docker Swarm, too: n"]


async def test_a_removed_node_is_told_from_one_that_nobody_hears(manager, data, tmp_path, caplog):
    async with await listening(manager):
        await become_member(data, join_request(tmp_path))
        manager.removed = True
        assert await undo(data) is Told.REMOVED
    assert "does not hear" not in caplog.text


@pytest.mark.parametrize("place", ["a file", "full"])
async def test_an_unwritable_data_directory_is_found_before_the_join(manager, data, tmp_path, monkeypatch, place):
    monkeypatch.setattr("worker.host.join.join", ending(AssertionError("the manager was asked")))
    if place == "a file":
        data = DataDir(tmp_path / "file")
        data.path.write_text("")
    else:
        monkeypatch.setattr("worker.config.tempfile.TemporaryFile", ending(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(Unavailable, match=rf"data directory {data.path}"):
        await become_member(data, join_request(tmp_path))
    assert place == "a file" or not data.path.exists()
    assert manager.heard == []


async def while_listening(manager, job):
    """Run a job of the command line in a thread of its own, as it has a loop of its own."""
    async with await listening(manager):
        return await asyncio.to_thread(job)


@pytest.mark.parametrize("error", [Unavailable("it ended while starting: no such engine"), KeyboardInterrupt()])
async def test_a_daemon_that_does_not_start_takes_the_join_back(manager, data, tmp_path, monkeypatch, error):
    stopped = []
    fake = SimpleNamespace(start=ending(error), stop=lambda: stopped.append(True))
    monkeypatch.setattr(background, "daemon", lambda _: fake)

    def begin():
        with take_back_unless_settled(data):
            asyncio.run(become_member(data, join_request(tmp_path)))
            assert data.joined
            background.start(data)

    with pytest.raises(type(error)):
        await while_listening(manager, begin)
    assert (manager.heard, stopped) == (["n1"], [True])
    assert not data.path.exists()


@pytest.mark.parametrize("ends", ["before a welcome", "after a welcome", "with an error after a welcome"])
async def test_a_join_stands_once_it_was_settled(manager, data, tmp_path, ends):
    def begin():
        with take_back_unless_settled(data) as settle:
            asyncio.run(become_member(data, join_request(tmp_path)))
            if "after" in ends:
                settle()
            if "error" in ends:
                raise Unavailable("the data plane is upside down")

    fails = pytest.raises(Unavailable, match="upside down") if "error" in ends else nullcontext()
    with fails:
        await while_listening(manager, begin)
    welcomed = "after" in ends
    assert data.joined == welcomed
    assert manager.heard == ([] if welcomed else ["n1"])


async def test_who_was_a_member_before_stays_one(manager, data, tmp_path):
    async with await listening(manager):
        await become_member(data, join_request(tmp_path))
        with pytest.raises(AlreadyExists), take_back_unless_settled(data):
            await become_member(data, join_request(tmp_path))
    assert data.joined
    assert manager.heard == []


async def test_a_manager_that_is_gone_keeps_nothing_on_the_host(manager, data, tmp_path, caplog):
    async with await listening(manager):
        await become_member(data, join_request(tmp_path))
    assert await undo(data) is Told.UNHEARD
    assert "was not told that this node leaves" in caplog.text
    assert not data.path.exists()


async def test_unremovable_containers_do_not_keep_the_identity(manager, data, tmp_path, monkeypatch, caplog):
    engine: Any = FakeEngine({"web": Program()})
    for name in ("stuck", "other"):
        await engine.start(await engine.create(name, {"Image": "web", "Labels": {LABEL_AGENT: "n1"}}))
    stuck, stop = engine.box("stuck").id, engine.stop

    async def refuse(container_id, grace):
        if container_id == stuck:
            raise EngineError(500, "cannot stop container: permission denied")
        await stop(container_id, grace)

    async def close():
        pass

    monkeypatch.setattr(engine, "stop", refuse)
    engine.close = close
    monkeypatch.setattr("worker.host.leave.DockerEngine", lambda *_: engine)
    async with await listening(manager):
        await become_member(data, join_request(tmp_path))
        assert await undo(data) is Told.HEARD
    assert "stays: cannot stop container: permission denied" in caplog.text
    assert engine.names == ["stuck"]
    assert not data.path.exists()


@pytest.mark.parametrize("swarm", [None, {}, {"LocalNodeState": ""}, {"LocalNodeState": "inactive"}])
def test_an_engine_of_its_own_is_fine(swarm: Any) -> None:
    assert warning({"Swarm": swarm}, 0) == ""


@pytest.mark.parametrize(
    ("swarm", "port", "taken"),
    [
        ({"LocalNodeState": "active"}, 0, 4789),
        ({"LocalNodeState": "locked"}, 4789, 4789),
        ({"LocalNodeState": "active", "Cluster": {"DataPathPort": 5000}}, 5000, 5000),
        ({"LocalNodeState": "active", "Cluster": {"DataPathPort": 0}}, 0, 4789),
        ({"LocalNodeState": "active"}, 4790, 0),
        ({"LocalNodeState": "pending", "Cluster": None}, 4790, 0),
        ({"LocalNodeState": "active", "Cluster": {"DataPathPort": 5000}}, 0, 0),
    ],
)
def test_only_the_same_port_keeps_a_host_from_joining(swarm: Any, port: int, taken: int) -> None:
    if not taken:
        assert warning({"Swarm": swarm}, port).startswith("this host's engine is a node of a Docker Swarm, too")
        return
    with pytest.raises(FailedPrecondition, match=f"have UDP port {taken}, which this"):
        warning({"Swarm": swarm}, port)
