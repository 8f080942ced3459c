"""The audit log: what is noted, that nothing secret is, and the file."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from common.clock import SystemClock
from common.model import Secret
from common.model.client import Role
from manager.api.access.audit import Audit, Entry, Subject
from manager.api.access.roles import NOBODY, Caller
from manager.api.call import Answer, Call, Relay
from manager.api.call import Exchange as CallExchange
from manager.api.errors import EngineError
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import ChangeSet
from tests.fakes.api_client import Answered, Client
from tests.fakes.api_cluster import ApiCluster


def changes_of(cluster: ApiCluster) -> list[tuple[str, str, str, int]]:
    return [(entry.method, entry.path, entry.object, entry.status) for entry in cluster.audited]


async def test_changes_are_noted_with_the_id_of_what_they_change(client: Client, cluster: ApiCluster) -> None:
    made = await client.make("/secrets/create", {"Name": "s", "Data": "eA=="})
    await client.ask("DELETE", "/v1.47/secrets/s")
    await client.error("DELETE", "/secrets/s")
    await client.error("POST", "/secrets/create", {"Name": ""})
    await client.error("POST", "/nonsense")
    assert changes_of(cluster) == [
        ("POST", "/secrets/create", made, 201),
        ("DELETE", "/v1.47/secrets/s", made, 204),
        ("DELETE", "/secrets/s", "s", 404),
        ("POST", "/secrets/create", "", 400),
        ("POST", "/nonsense", "", 404),
    ]


async def test_what_is_removed_by_its_id_is_noted_by_its_name(client: Client, cluster: ApiCluster) -> None:
    made = await client.make("/secrets/create", {"Name": "key", "Data": "eA=="})
    await client.ask("DELETE", f"/secrets/{made}")
    assert [(entry.object, entry.object_name) for entry in cluster.audited] == [(made, ""), (made, "key")]


async def test_who_hangs_up_before_the_answer_is_noted(
    client: Client, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler is cancelled when its client goes; what is on its way to the disk then is stored all the same."""
    begun, commit = asyncio.Event(), MemoryBackend.commit

    async def slow_commit(backend: MemoryBackend, change_sets: Sequence[ChangeSet]) -> None:
        begun.set()
        await asyncio.sleep(0.01)
        await commit(backend, change_sets)

    monkeypatch.setattr(MemoryBackend, "commit", slow_commit)
    with cluster.store.watch(kinds=(Secret,)) as changes:
        asking = asyncio.create_task(client.ask("POST", "/secrets/create", {"Name": "s", "Data": "eA=="}))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await changes.next()
    assert [secret.name for secret in cluster.store.view.secrets] == ["s"]
    assert changes_of(cluster) == [("POST", "/secrets/create", "", 499)]


async def test_reading_is_not_noted(client: Client, cluster: ApiCluster) -> None:
    for path in ("/services", "/info", "/_ping", "/nodes"):
        await client.get(path)
    await client.error("GET", "/services/nope")
    assert cluster.audited == []


async def test_reading_that_is_more_than_that_and_refusals_are_noted(client: Client, cluster: ApiCluster) -> None:
    await client.get("/swarm/client-certificates")
    await Client(cluster.api, NOBODY).error("GET", "/services")
    viewer = Client(cluster.api, Caller("v", "10.0.0.9:1", Role.VIEWER))
    await viewer.error("GET", "/swarm/unlockkey")
    assert [(entry.name, entry.role, entry.path, entry.status) for entry in cluster.audited] == [
        ("tester", "admin", "/swarm/client-certificates", 200),
        ("nobody", "none", "/services", 403),
        ("v", "viewer", "/swarm/unlockkey", 403),
    ]


async def test_nothing_secret_is_noted(client: Client, cluster: ApiCluster) -> None:
    await client.make("/secrets/create", {"Name": "s", "Data": "bXktc2VjcmV0"})
    await client.ask("POST", "/services/create?x=my-secret", {"Name": "my-secret"}, {"x-registry-auth": "my-secret"})
    text = msgspec.json.encode(cluster.audited)
    assert text.count(b'"method"') == 2
    for secret in (b"my-secret", b"bXktc2VjcmV0"):
        assert secret not in text


def test_who_may_change_nothing_cannot_push_out_what_others_did() -> None:
    """Refusals cost nothing, and the oldest file goes when there are enough of them."""
    noted: list[Entry] = []
    clock = StandingClock()
    audit = Audit(noted.append, clock)

    def refuse(caller: Caller, times: int) -> None:
        for _ in range(times):
            audit.record_reply(Call("DELETE", "/secrets/s", caller=caller), None, Subject("s"), Answer(403))

    viewer, admin = Caller("v", "10.0.0.9:1", Role.VIEWER, serial="5"), Caller("a", "unix", Role.ADMIN, uid=0)
    refuse(viewer, 1000)
    for number in range(1000):
        refuse(Caller(f"node {number}", "10.0.0.8:1", unit="worker", serial=f"9{number}"), 1)
    refuse(admin, 500)
    assert Counter(entry.role for entry in noted) == {"viewer": 100, "none": 100, "admin": 500}
    clock.instant += 20
    refuse(viewer, 2)
    assert [(entry.name, entry.unwritten) for entry in noted[700:]] == [("v", 900)]
    audit.record_reply(Call("DELETE", "/secrets/s", caller=viewer), None, Subject("s"), Answer(204))
    assert (noted[-1].status, noted[-1].unwritten) == (204, 0)


class StandingClock(SystemClock):
    instant = 1_800_000_000.0

    def now(self) -> float:
        return self.instant


async def test_what_no_json_can_hold_is_noted_all_the_same(client: Client, cluster: ApiCluster) -> None:
    await client.reply(Call("POST", "/secrets/\ud800/update" + "x" * 9999, caller=Caller("a", "unix", Role.ADMIN)))
    (entry,) = cluster.audited
    assert entry.path.startswith("/secrets/\\ud800/update")
    assert len(msgspec.json.encode(entry)) < 1200


class Exchange:
    has_body = False

    def body(self) -> AsyncIterator[bytes]:
        raise AssertionError

    async def start(self, status: int, headers: Any) -> None: ...

    async def send(self, data: bytes) -> None: ...

    async def take_over(self, head: bytes) -> Any: ...


@pytest.mark.parametrize(
    ("how", "status"),
    [("start", 409), ("take over", 101), ("fail", 404), ("break", 500), ("hang up", 499), ("start and fail", 200)],
)
async def test_a_relayed_request_is_noted_when_its_answer_begins(how: str, status: int) -> None:
    noted: list[Entry] = []
    at_start: list[int] = []

    async def run(exchange: Any) -> None:
        if how == "take over":
            await exchange.take_over(b"HTTP/1.1 101 UPGRADED\r\n\r\n")
        elif how.startswith("start"):
            await exchange.start(409 if how == "start" else 200, {})
        at_start.append(len(noted))
        if how == "break":
            raise RuntimeError
        if how == "hang up":
            raise asyncio.CancelledError
        if how.endswith("fail"):
            raise EngineError(404, "no such container")

    call = Call("POST", "/exec/x/start", caller=Caller("a", "unix", Role.ADMIN))
    relay = Audit(noted.append, SystemClock()).record_reply(call, None, Subject("x"), Relay(run))
    assert isinstance(relay, Relay)
    try:
        await relay.run(Exchange())
    except (EngineError, RuntimeError, asyncio.CancelledError):
        assert how in ("fail", "break", "hang up", "start and fail")
    assert [entry.status for entry in noted] == [status]
    assert at_start == [0 if how in ("fail", "break", "hang up") else 1]


async def test_what_the_leader_says_was_made_is_noted() -> None:
    noted: list[Entry] = []
    heads: list[Mapping[str, str]] = []

    class Exchange(Answered):
        async def start(self, status: int, headers: Mapping[str, str]) -> None:
            heads.append(headers)

    async def run(exchange: CallExchange) -> None:
        await exchange.start(201, {"Swarm-Made": "abc", "Content-Type": "application/json"})

    call = Call("POST", "/secrets/create", caller=Caller("a", "unix", Role.ADMIN))
    relay = Audit(noted.append, SystemClock()).record_reply(call, None, Subject(), Relay(run))
    assert isinstance(relay, Relay)
    await relay.run(Exchange())
    assert [(entry.status, entry.object) for entry in noted] == [(201, "abc")]
    assert heads == [{"Content-Type": "application/json"}]


# --- the file ---------------------------------------------------------------------------------------------------------


def entry(number: int) -> Entry:
    return Entry(time="t", name="alice", origin="unix", method="POST", path=f"/{number}", status=200)


async def test_administrators_read_it(client: Client) -> None:
    await client.error("DELETE", "/services/nobody")
    answer = await client.get("/swarm/audit?limit=1")
    assert [(each["method"], each["path"], each["status"]) for each in answer["Entries"]] == [
        ("DELETE", "/services/nobody", 404)
    ]
    assert (await client.get("/swarm/audit?limit=1"))["Entries"][0]["path"] == "/swarm/audit"
    assert (await client.get("/swarm/audit?limit=1&changes=1"))["Entries"] == answer["Entries"]
    for query in ("limit=0", "limit=x", "limit=501", "before=yesterday"):
        assert (await client.error("GET", f"/swarm/audit?{query}"))[0] == 400
