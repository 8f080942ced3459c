"""The shared dashboard's listener: who comes in by which token, as what, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from common.clock import LoopClock
from common.http.dashboard_token import Token, new_token
from common.model.client import DashboardToken, Role
from common.tls import ROLE_MANAGER, public_context
from manager.api.access.roles import Caller, look_up_caller
from manager.api.access.token_auth import WRONG, TokenAuthenticator
from manager.api.call import Call
from manager.api.errors import EngineError
from manager.api.http.server import serve
from manager.store.backend import Epoch, LeaderRecord
from manager.store.shared import SharedStore
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster
from tests.fakes.api_tls import TlsApi, client_context
from tests.fakes.certificates import Pki
from tests.fakes.shared_log import LogBackend, SharedLog

ORIGIN = "https://dash.example.org"
FOLLOWED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


class Shared:
    """A cluster's shared dashboard, and a browser before it."""

    def __init__(self, cluster: ApiCluster, url: str, session: aiohttp.ClientSession) -> None:
        self.cluster = cluster
        self.url = url
        self.session = session
        self.admin = Client(cluster.api)

    async def token(self, name: str = "alice", role: str = "viewer", **more: Any) -> Token:
        made = new_token()
        order = {"ID": made.id, "Digest": made.digest, "Name": name, "Role": role, **more}
        status, answer = await self.admin.ask("POST", "/swarm/dashboard-tokens/create", order)
        assert status == 201, answer
        return made

    async def ask(
        self, path: str, token: object = "", method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        said = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        async with self.session.request(method, self.url + path, headers=said, allow_redirects=False) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text())


@pytest.fixture
async def shared(cluster: ApiCluster, tmp_path: Path) -> AsyncIterator[Shared]:
    pki = Pki(tmp_path, authority=cluster.authority)
    context = public_context(pki.files("m1", ROLE_MANAGER))
    authenticator = TokenAuthenticator(cluster.store, cluster.clock, (ORIGIN,))
    async with serve(cluster.api, ["tcp://127.0.0.1:0"], ssl_context=context, identify=authenticator.identify) as (
        host,
    ):
        trust = client_context(TlsApi(cluster, host, context, pki), None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            yield Shared(cluster, host.replace("tcp://", "https://"), session)


# --- who comes in -----------------------------------------------------------------------------------------------------


async def test_who_has_a_token_is_whom_its_record_names(shared: Shared) -> None:
    for role in ("viewer", "operator", "admin"):
        status, caller = await shared.ask("/swarm/caller", await shared.token(f"{role}s", role))
        assert (status, caller["Name"], caller["Role"]) == (200, f"{role}s", role)
        assert caller["Environment"] is (role != "viewer")


async def test_a_role_is_kept(shared: Shared) -> None:
    token = await shared.token()
    status, said = await shared.ask("/networks/prune", token, "POST")
    assert (status, "has the role viewer" in said["message"]) == (403, True)
    entry = shared.cluster.audited[-1]
    assert (entry.name, entry.serial, entry.role, entry.path) == ("alice", token.id, "viewer", "/networks/prune")
    status, caller = await shared.ask(
        "/swarm/caller", await shared.token("bob", "admin"), headers={"Swarm-Role": "viewer"}
    )
    assert caller["Role"] == "viewer"


async def test_an_operators_token_may_be_forbidden_ways_to_the_host(shared: Shared) -> None:
    token = await shared.token("ci", "operator", Forbidden=["privileged", "devices"])
    assert (await shared.ask("/swarm/caller", token))[1]["Forbidden"] == ["privileged", "devices"]
    status, said = await shared.ask("/plugins/pull", token, "POST")
    assert (status, "is not for ci, whose dashboard token forbids" in said["message"]) == (403, True)


async def test_pages_are_for_everybody_and_nothing_else_is(shared: Shared) -> None:
    assert (await shared.ask("/"))[0] == 307
    for path in ("/dashboard/", "/dashboard/static/js/main.js", "/dashboard/services/web"):
        assert (await shared.ask(path))[0] == 200
    for path, method in (("/services", "GET"), ("/_ping", "GET"), ("/dashboard/", "POST"), ("/dashboards", "GET")):
        status, said = await shared.ask(path, method=method)
        assert (status, "dashboard token" in said["message"]) == (401, True)
    assert shared.cluster.audited == []


@pytest.mark.parametrize("change", ["secret", "id", "digest", "certificate"])
async def test_what_is_not_a_token_opens_nothing(shared: Shared, change: str) -> None:
    token = await shared.token("alice", "admin")
    wrong = {
        "secret": Token(token.id, new_token().secret),
        "id": Token(new_token().id, token.secret),
        "digest": f"dash_{token.id.removeprefix('token-')}_{token.digest[:43]}",
        "certificate": "00",
    }[change]
    status, said = await shared.ask("/swarm/caller", wrong)
    assert (status, "there is no such dashboard token" in said["message"]) == (401, True)
    assert (shared.cluster.audited[-1].status, shared.cluster.audited[-1].role) == (401, "none")


async def test_a_cookie_or_a_password_opens_nothing(shared: Shared) -> None:
    token = await shared.token()
    for headers in ({"Cookie": f"token={token}"}, {"Authorization": f"Basic {token}"}, {"X-Token": str(token)}):
        assert (await shared.ask("/swarm/caller", headers=headers))[0] == 401
    assert (await shared.ask(f"/swarm/caller?token={token}"))[0] == 401


async def test_a_token_ends(shared: Shared) -> None:
    token = await shared.token()
    record = shared.cluster.store.view.dashboard_tokens.get(token.id)
    assert record is not None
    ended = msgspec.structs.replace(record, not_after=shared.cluster.clock.now() - 1)
    await shared.cluster.store.update(lambda tx: tx.put(ended))
    status, said = await shared.ask("/swarm/caller", token)
    assert (status, "has ended" in said["message"]) == (401, True)


async def test_a_revoked_token_is_worth_nothing_at_once(shared: Shared) -> None:
    """Its streams end in that moment, those of others do not."""
    token, other = await shared.token("alice"), await shared.token("bob")
    feed = f"{shared.url}/swarm/overview/feed?topics=nodes"
    async with (
        shared.session.get(feed, headers={"Authorization": f"Bearer {token}"}) as mine,
        shared.session.get(feed, headers={"Authorization": f"Bearer {other}"}) as theirs,
    ):
        assert await mine.content.readany()
        assert await theirs.content.readany()
        assert await shared.admin.ask("DELETE", "/swarm/dashboard-tokens/alice") == (
            200,
            [{"ID": token.id, "Name": "alice"}],
        )
        with pytest.raises(aiohttp.ClientError):
            await mine.content.read()
        assert not theirs.content.is_eof()
    status, said = await shared.ask("/swarm/caller", token)
    assert (status, "was revoked" in said["message"]) == (401, True)
    assert (await shared.ask("/swarm/caller", other))[0] == 200


async def test_a_web_socket_has_its_token_among_its_protocols(shared: Shared) -> None:
    """A page can give it no header; the answer chooses the protocol that is one."""
    token = await shared.token("alice", "operator")
    url = f"{shared.url}/exec/{'a' * 64}/ws"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await shared.session.ws_connect(url, protocols=("swarm.dashboard", "key.wrong"))
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        await shared.session.ws_connect(url, protocols=("swarm.dashboard", f"key.{token}"))


# --- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://dash.example.org", f"{ORIGIN}:8443"])
async def test_another_origin_is_refused_with_a_token_too(shared: Shared, origin: str) -> None:
    status, said = await shared.ask("/swarm/caller", await shared.token(), headers={"Origin": origin})
    assert (status, "a page of another site" in said["message"]) == (403, True)


async def test_its_own_origin_and_a_proxys_are_taken(shared: Shared) -> None:
    token = await shared.token()
    for origin in (shared.url, ORIGIN):
        assert (await shared.ask("/swarm/caller", token, headers={"Origin": origin}))[0] == 200


async def test_a_link_from_elsewhere_opens_a_page(shared: Shared) -> None:
    assert (await shared.ask("/dashboard/services/web", headers=FOLLOWED))[0] == 200
    assert (await shared.ask("/swarm/caller", await shared.token(), headers=FOLLOWED))[0] == 403
    assert (await shared.ask("/dashboard/", headers={**FOLLOWED, "Sec-Fetch-Dest": "iframe"}))[0] == 403


# --- wrong tokens -----------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def trying(authenticator: TokenAuthenticator, address: str, token: object) -> tuple[str, Role | None]:
    """Show a token; return what became of it, and the role that it brought."""
    call = Call(
        "GET", "/services", headers={"authorization": f"Bearer {token}"}, caller=Caller("nobody", f"{address}:4000")
    )
    try:
        found, _ = authenticator.identify(call)
    except EngineError as error:
        return str(error.answered), None
    return "seen", found.caller.role


async def test_wrong_tokens_are_few_and_right_ones_always_come_in(shared: Shared) -> None:
    clock = Clock()
    authenticator = TokenAuthenticator(shared.cluster.store, clock)
    right = await shared.token("alice", "operator")
    for _ in range(int(WRONG.burst)):
        assert trying(authenticator, "192.0.2.7", new_token()) == ("seen", None)
    assert trying(authenticator, "192.0.2.7", new_token()) == ("429", None)
    assert trying(authenticator, "192.0.2.8", new_token()) == ("seen", None)
    assert trying(authenticator, "192.0.2.7", right) == ("seen", Role.OPERATOR)
    clock.at += 2.0
    assert trying(authenticator, "192.0.2.7", new_token()) == ("seen", None)
    assert trying(authenticator, "192.0.2.7", new_token()) == ("429", None)


async def test_many_addresses_cannot_fill_the_audit_log(shared: Shared) -> None:
    authenticator = TokenAuthenticator(shared.cluster.store, Clock())
    tried = [trying(authenticator, f"[2001:db8::{n:x}]", new_token())[0] for n in range(1000)]
    assert tried.count("seen") == 200


async def test_a_token_goes_no_further(shared: Shared) -> None:
    """Neither to the leader nor to an engine."""
    token = await shared.token()
    said = {"authorization": f"Bearer {token}", "sec-websocket-protocol": f"swarm.dashboard, key.{token}"}
    repeated = {"authorization": (f"Bearer {token}", "x"), "sec-websocket-protocol": ("a", f"key.{token}")}
    call = Call("GET", "/services", headers=said, repeated=repeated, caller=Caller("nobody", "192.0.2.7:4000"))
    found, _ = TokenAuthenticator(shared.cluster.store, Clock()).identify(call)
    assert found.headers == {"sec-websocket-protocol": "swarm.dashboard"}
    assert token.secret not in repr(found)


# --- several managers -------------------------------------------------------------------------------------------------


async def test_a_token_is_worth_the_same_at_three_managers() -> None:
    """It is made at the one that leads; another leads when it is revoked."""
    log, clock, token = SharedLog(), LoopClock(), new_token()
    record = DashboardToken(id=token.id, digest=token.digest, name="alice", role="viewer", not_after=clock.now() + 60)
    call = Call("GET", "/nodes", headers={"authorization": f"Bearer {token}"}, caller=Caller("", "192.0.2.9:4000"))
    async with AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        entering = [stack.enter_async_context(SharedStore(LogBackend(log), clock, loop.time)) for _ in range(3)]
        stores = [await each for each in entering]
        doorkeepers = [TokenAuthenticator(each, clock) for each in stores]
        managers = list(zip(stores, doorkeepers, strict=True))

        def let_in(store: SharedStore, authenticator: TokenAuthenticator) -> Caller:
            return look_up_caller(authenticator.identify(call)[0].caller, store.view, clock.now())

        assert await stores[0].lead(LeaderRecord("one", Epoch(0, 1), "one:2377", "1.0"))
        await stores[0].update(lambda tx: tx.put(record))
        await asyncio.gather(*(each.reached(stores[0].index) for each in stores[1:]))
        callers = [let_in(*manager) for manager in managers]
        assert [(each.name, each.role) for each in callers] == [("alice", Role.VIEWER)] * 3

        await stores[0].resign()
        assert await stores[2].lead(LeaderRecord("three", Epoch(0, 2), "three:2377", "1.0"))
        revoked = msgspec.structs.replace(record, revoked_at=clock.now(), revoked_by="bob")
        await stores[2].update(lambda tx: tx.put(revoked))
        await asyncio.gather(*(each.reached(stores[2].index) for each in stores[:2]))
        for manager in managers:
            with pytest.raises(EngineError, match="revoked"):
                let_in(*manager)
