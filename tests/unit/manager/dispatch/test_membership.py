"""Joining, from the token to the first session, over TLS on the loopback."""

import asyncio
import math
import random
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from common.clock import SystemClock
from common.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    SwarmError,
    Unauthenticated,
    Unavailable,
)
from common.model import Cluster, Node
from common.model.cluster import JoinTokens
from common.model.node import ManagerStatus, NodeDescription, NodeStatus
from common.tls import (
    CredentialFiles,
    Identity,
    certificate_request,
    client_context,
    new_key,
    root_digest,
    server_context,
)
from common.wire.client import JoinTerms, Membership, join, open_session, withdraw
from common.wire.codec import encode
from common.wire.messages import OLDEST_PROTOCOL, PROTOCOL_VERSION, AnyMessage, Hello, RenewReply, RenewRequest
from common.wire.server import serve
from manager.ca.authority import Authority, create_root
from manager.ca.files import ManagerFiles
from manager.ca.tokens import new_tokens, rotate
from manager.dispatch.dispatcher import Dispatcher
from manager.dispatch.managers import KnownManagers
from manager.dispatch.reception import Reception
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store


class Manager:
    """A manager that listens, its store, and what is needed to join it."""

    def __init__(self, store: Store, files: ManagerFiles, port: int, tokens: JoinTokens, authority: Authority) -> None:
        self.store = store
        self.files = files
        self.port = port
        self.tokens = tokens
        self.authority = authority
        self.digest = authority.digest

    async def join(self, token: str = "", skew: float = 0.0, **terms: object) -> Membership:
        fields = {"hostname": "alpha", **terms}
        clock = Skewed(skew)
        return await join("127.0.0.1", self.port, token or self.tokens.worker, JoinTerms(**fields), clock)  # type: ignore[arg-type]


class Skewed:
    """The machine's clock, wrong by some seconds."""

    def __init__(self, skew: float) -> None:
        self._skew = skew

    def now(self) -> float:
        return SystemClock().now() + self._skew


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    clock = SystemClock()
    rng = random.SystemRandom()
    files = ManagerFiles(tmp_path)
    authority = Authority(create_root("cluster1", clock.now()))
    tokens = new_tokens(authority.digest, rng)
    async with Store(MemoryBackend(), clock) as store:
        cluster = Cluster(id="cluster1", join_tokens=tokens)
        await store.update(lambda tx: tx.put(cluster))
        files.issue_own(authority, "m1", ["127.0.0.1"], cluster.spec.ca_config.node_cert_expiry, clock)
        dispatcher = Dispatcher(
            store, authority, clock, rng, manager_id="m1", managers=KnownManagers(store, "127.0.0.1:2377")
        )
        running = asyncio.create_task(dispatcher.run())
        async with await serve(
            "127.0.0.1", 0, server_context(files.node), Reception(authority, clock, lambda: dispatcher).handle
        ) as server:
            yield Manager(store, files, server.port, tokens, authority)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def written(joined: Membership, folder: Path) -> CredentialFiles:
    """Store what a host got by joining, as it does."""
    files = CredentialFiles(folder / joined.node_id)
    files.write(joined.certificate, joined.key, joined.root_certificate)
    return files


def hello() -> Hello:
    return Hello(protocol=PROTOCOL_VERSION, description=NodeDescription(hostname="alpha"))


async def test_a_token_gets_a_certificate_and_that_a_session(manager: Manager, tmp_path: Path) -> None:
    joined = await manager.join(labels={"disk": "ssd"}, availability="drain", advertise_addr="10.1.2.3")
    assert (joined.cluster_id, joined.managers) == ("cluster1", ("127.0.0.1:2377",))
    node = manager.store.view.nodes.get(joined.node_id)
    assert node is not None
    assert (node.spec.labels, node.spec.availability, node.spec.role) == ({"disk": "ssd"}, "drain", "worker")
    assert (node.name, node.status.state, node.status.addr) == ("alpha", "unknown", "10.1.2.3")

    files = CredentialFiles(tmp_path / "worker")
    files.write(joined.certificate, joined.key, joined.root_certificate)
    identity = files.identity()
    assert (identity.node_id, identity.role, identity.cluster_id) == (joined.node_id, "swarm-worker", "cluster1")
    assert node.certificate_serials == (identity.serial,)
    days = (identity.not_after - identity.not_before - 3600) / 86400
    assert days == pytest.approx(90)

    channel, welcome = await open_session("127.0.0.1", manager.port, client_context(files), hello())
    assert welcome.node_id == joined.node_id
    await channel.close()


@pytest.mark.parametrize("name", ["node.pem", "root.crt"])
async def test_only_the_owner_reads_the_managers_files(manager: Manager, name: str) -> None:
    path = manager.files.directory / name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_token_of_another_cluster_never_leaves_the_host(manager: Manager) -> None:
    foreign = new_tokens(root_digest(create_root("cluster2", 0).certificate), random.Random(1))
    with pytest.raises(Unauthenticated, match="not of the cluster that answers there"):
        await manager.join(foreign.worker)


async def test_a_rotated_token_is_worth_nothing(manager: Manager) -> None:
    cluster = manager.store.view.cluster
    tokens = rotate(manager.tokens, "worker", manager.digest, random.SystemRandom())
    await manager.store.update(lambda tx: tx.put(msgspec.structs.replace(cluster, join_tokens=tokens)))
    with pytest.raises(Unauthenticated, match="rotated or mistyped"):
        await manager.join()
    assert (await manager.join(tokens.worker)).node_id


async def test_the_managers_token_is_not_for_workers(manager: Manager) -> None:
    with pytest.raises(FailedPrecondition, match="the token for managers"):
        await manager.join(manager.tokens.manager)


async def test_what_is_no_token_is_said_before_anything_is_dialled() -> None:
    with pytest.raises(InvalidArgument, match="not a join token"):
        await join("127.0.0.1", 1, "SWMTKN-1-abc", JoinTerms("alpha"), SystemClock())


@pytest.mark.parametrize("days", [-400, -3, 3, 400])
async def test_a_clock_that_is_days_off_is_told_both_times(manager: Manager, days: int) -> None:
    with pytest.raises(
        FailedPrecondition, match=r"clocks differ by \d+ days.*the worker's says .*Z, the manager's .*Z"
    ):
        await manager.join(skew=days * 86400)
    assert not len(manager.store.view.nodes)


async def test_a_clock_that_is_minutes_off_is_a_warning(manager: Manager) -> None:
    (warning,) = (await manager.join(skew=-720)).warnings
    assert warning.startswith("the clocks differ by 12 minutes: the worker's says")
    assert (await manager.join(skew=5, hostname="beta")).warnings == ()


@pytest.mark.parametrize("skew", [math.nan, math.inf, -math.inf, 1e300])
async def test_a_clock_that_says_no_time_gets_an_answer(manager: Manager, skew: float) -> None:
    with pytest.raises(FailedPrecondition, match="which is not a time"):
        await manager.join(skew=skew)
    assert not len(manager.store.view.nodes)


async def test_nobody_listening_is_unavailable() -> None:
    tokens = new_tokens(root_digest(create_root("c", 0).certificate), random.Random(1))
    with pytest.raises(Unavailable, match=r"cannot reach a manager at 127\.0\.0\.1:1"):
        await join("127.0.0.1", 1, tokens.worker, JoinTerms("alpha"), SystemClock())


async def test_wrong_tokens_are_rate_limited_and_right_ones_are_not(manager: Manager) -> None:
    wrong = rotate(manager.tokens, "worker", manager.digest, random.SystemRandom()).worker
    for _ in range(25):
        await manager.join()
    errors: list[type[SwarmError]] = []
    for _ in range(22):
        with pytest.raises(SwarmError) as caught:
            await manager.join(wrong)
        errors.append(caught.type)
    assert errors[:19] == [Unauthenticated] * 19
    assert errors[-1] is ResourceExhausted


async def test_a_worker_on_the_managers_host_is_the_managers_node_once(manager: Manager, tmp_path: Path) -> None:
    own = Node(
        id="m1",
        status=NodeStatus(state="ready", addr="192.0.2.1"),
        manager_status=ManagerStatus(leader=True, addr="192.0.2.1:2377"),
    )
    await manager.store.update(lambda tx: tx.put(own))
    first = await manager.join(labels={"a": "b"})
    assert first.node_id == "m1"
    node = manager.store.view.nodes.get("m1")
    assert node is not None
    assert (node.agent, node.spec.labels) == (False, {}), "it gets no tasks before its worker is there"
    second = await manager.join(hostname="beta")
    assert second.node_id != "m1"
    channel, _ = await open_session("127.0.0.1", manager.port, client_context(written(first, tmp_path)), hello())
    node = manager.store.view.nodes.get("m1")
    assert node is not None
    assert (node.agent, node.status.state) == (True, "ready")
    assert (node.status.addr, node.spec.labels) == ("192.0.2.1", {"a": "b"})
    await channel.close()


async def test_a_join_on_the_managers_host_without_a_session_repeats(manager: Manager, tmp_path: Path) -> None:
    """It was killed, and could take nothing back."""
    own = Node(
        id="m1",
        description=NodeDescription(hostname="alpha"),
        status=NodeStatus(state="ready", addr="192.0.2.1"),
        manager_status=ManagerStatus(leader=True),
    )
    await manager.store.update(lambda tx: tx.put(own))
    killed = await manager.join(labels={"a": "killed"})
    other = await manager.join(hostname="beta")
    again = await manager.join(labels={"a": "again"})
    assert (killed.node_id, again.node_id, other.node_id == "m1") == ("m1", "m1", False)
    credentials = written(killed, tmp_path / "killed")
    with pytest.raises(PermissionDenied, match="it was replaced"):
        await open_session("127.0.0.1", manager.port, client_context(credentials), hello())
    with pytest.raises(PermissionDenied):
        await withdraw("127.0.0.1", manager.port, client_context(credentials))
    channel, _ = await open_session("127.0.0.1", manager.port, client_context(written(again, tmp_path)), hello())
    node = manager.store.view.nodes.get("m1")
    assert node is not None
    assert (node.agent, node.spec.labels) == (True, {"a": "again"})
    assert (await manager.join()).node_id != "m1", "a worker that was welcomed is not replaced"
    await channel.close()


async def test_two_engines_of_the_managers_host_become_two_nodes(manager: Manager, tmp_path: Path) -> None:
    own = Node(id="m1", description=NodeDescription(hostname="alpha"), manager_status=ManagerStatus(leader=True))
    await manager.store.update(lambda tx: tx.put(own))
    first, second = await manager.join(engine="e1"), await manager.join(engine="e2")
    again = await manager.join(engine="e1")
    assert (first.node_id, second.node_id == "m1", again.node_id) == ("m1", False, "m1")
    for each in (second, again):
        channel, _ = await open_session("127.0.0.1", manager.port, client_context(written(each, tmp_path)), hello())
        await channel.close()


async def test_a_host_that_joins_again_gets_a_new_row(manager: Manager) -> None:
    assert (await manager.join()).node_id != (await manager.join()).node_id


async def test_a_join_that_is_taken_back_leaves_nothing(manager: Manager, tmp_path: Path) -> None:
    own = Node(id="m1", status=NodeStatus(state="ready", addr="192.0.2.1"), manager_status=ManagerStatus(leader=True))
    await manager.store.update(lambda tx: tx.put(own))
    before = manager.store.view.nodes.get("m1")
    first, joined = await manager.join(labels={"a": "b"}), await manager.join(hostname="beta")
    assert first.node_id == "m1"
    for each in (first, joined):
        await withdraw("127.0.0.1", manager.port, client_context(written(each, tmp_path)))
    assert [node.id for node in manager.store.view.nodes] == ["m1"]
    after = manager.store.view.nodes.get("m1")
    assert before is not None
    assert after is not None
    assert msgspec.structs.replace(after, version=before.version, updated_at=before.updated_at) == before
    with pytest.raises(PermissionDenied, match=r"is not part of this cluster"):
        await withdraw("127.0.0.1", manager.port, client_context(written(joined, tmp_path)))


async def test_the_release_before_joins_and_has_a_session(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.wire.client.PROTOCOL_VERSION", OLDEST_PROTOCOL)
    joined = await manager.join()
    older = msgspec.structs.replace(hello(), protocol=OLDEST_PROTOCOL)
    frames: list[bytes] = []

    def sent(message: AnyMessage, request_id: int = 0) -> bytes:
        frames.append(encode(message, request_id))
        return frames[-1]

    monkeypatch.setattr("common.wire.stream.encode", sent)
    channel, welcome = await open_session("127.0.0.1", manager.port, client_context(written(joined, tmp_path)), older)
    await channel.close()
    assert welcome.protocol == OLDEST_PROTOCOL
    assert not [frame for frame in frames if b"epoch" in frame], "a field that it refuses"


async def test_an_old_workers_join_is_told_to_upgrade(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.wire.client.PROTOCOL_VERSION", OLDEST_PROTOCOL - 1)
    monkeypatch.setattr("common.wire.client.OLDEST_PROTOCOL", OLDEST_PROTOCOL - 1)
    with pytest.raises(FailedPrecondition, match=f"speaks protocol {OLDEST_PROTOCOL - 1}, .* upgrade the worker's"):
        await manager.join()
    assert not len(manager.store.view.nodes)


async def test_a_removed_node_is_refused_with_words(manager: Manager, tmp_path: Path) -> None:
    joined = await manager.join()
    files = CredentialFiles(tmp_path / "worker")
    files.write(joined.certificate, joined.key, joined.root_certificate)
    node = manager.store.view.nodes.get(joined.node_id)
    assert node is not None
    await manager.store.update(lambda tx: tx.remove(node))
    with pytest.raises(PermissionDenied, match="part of this cluster"):
        await open_session("127.0.0.1", manager.port, client_context(files), hello())


async def test_a_renewed_certificate_replaces_the_old_on_first_use(manager: Manager, tmp_path: Path) -> None:
    joined = await manager.join()
    old = CredentialFiles(tmp_path / "old")
    old.write(joined.certificate, joined.key, joined.root_certificate)
    channel, _ = await open_session("127.0.0.1", manager.port, client_context(old), hello())
    key = new_key()
    await channel.send(RenewRequest(csr=certificate_request(key)), 3)
    while not isinstance(reply := (await channel.receive()).message, RenewReply):
        pass
    await channel.close()
    channel, _ = await open_session("127.0.0.1", manager.port, client_context(old), hello())
    await channel.close()  # the reply might have been lost: the old one still works

    new = CredentialFiles(tmp_path / "new")
    new.write(reply.certificate, key, reply.root_certificate)
    channel, _ = await open_session("127.0.0.1", manager.port, client_context(new), hello())
    await channel.close()
    with pytest.raises(PermissionDenied, match="no longer valid"):
        await open_session("127.0.0.1", manager.port, client_context(old), hello())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hostname": ""}, "host name"),
        ({"hostname": "a b"}, "host name"),
        ({"hostname": "x" * 300}, "host name"),
        ({"availability": "gone"}, "availability: 'gone' is not one of active"),
        ({"advertise_addr": "alpha"}, "advertise addr: 'alpha' is not an IP address"),
        ({"advertise_addr": "0.0.0.0"}, "no host's address"),
        ({"advertise_addr": "ff02::1"}, "a group"),
        ({"engine": "x" * 256}, "engine: .* longer than 255"),
        ({"labels": {"": "x"}}, "label '' is empty"),
        ({"labels": {"x": "y" * 5000}}, "label 'x' is longer"),
        ({"labels": {"x\x1b[2J": "y"}}, "characters that cannot be shown"),
    ],
)
async def test_terms_are_checked_one_by_one(manager: Manager, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        await manager.join(**change)
    assert not len(manager.store.view.nodes)


async def test_a_bad_certificate_request_leaves_no_node(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.wire.client.certificate_request", lambda _: b"nonsense")
    with pytest.raises(InvalidArgument, match="certificate request"):
        await manager.join()
    assert not len(manager.store.view.nodes)


def test_what_a_request_asks_for_beyond_its_key_is_ignored(manager: Manager) -> None:
    chain = manager.authority.issue(
        certificate_request(new_key(), "swarm-manager"),
        Identity("n9", "swarm-worker", "ignored", "77"),
        10**18,
        SystemClock().now(),
        ["evil.example"],
    )
    leaf = x509.load_pem_x509_certificate(chain)
    assert leaf.subject.rfc4514_string() == "O=cluster1,OU=swarm-worker,CN=n9"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names == x509.SubjectAlternativeName([x509.DNSName("n9.swarm-worker")])
