"""The checks of requests of operators that are forbidden something (`--forbid`).

`forbidden_options.py` says what leads to a host. This module says which requests are checked for it, and checks what
services become in a transaction. Such operators may not use a route that is in neither of the two tables.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec

from common.model import Service, StoredObject
from common.model.client import Role
from manager.api.access.acting_store import StoreProxy
from manager.api.access.forbidden_options import (
    Finding,
    in_build,
    in_container,
    in_exec,
    in_existing,
    in_host_config,
    in_task,
    in_volume,
)
from manager.api.access.roles import Caller, access_denied
from manager.api.call import Call
from manager.api.containers import execs
from manager.api.containers.attachments import attachment_of
from manager.api.containers.locate import Found, locate
from manager.api.context import Context
from manager.api.engine.proxy import ask, raw_query
from manager.api.engine.types import ContainerInspect, ExecInspect
from manager.api.errors import invalid
from manager.api.http.body import parse
from manager.api.router import Match
from manager.store.store import Records
from manager.store.transaction import Transaction

R = TypeVar("R")
Check: TypeAlias = Callable[[Context, Call], Awaitable[Call]]


def restrict_context(context: Context, caller: Caller) -> Context:
    """Return the context for the requests of a caller that is forbidden something."""
    return msgspec.structs.replace(context, store=LimitedStore(context.store, caller))


async def check_request(context: Context, match: Match, call: Call) -> Call:
    """Check a request of a caller that is forbidden something; return it as it may be handled.

    Raises:
        EngineError: 403, it is forbidden; 400, it cannot be told what it asks for.

    """
    route = (call.method, match.pattern)
    if route in CHECKS:
        return await CHECKS[route](context, call)
    if match.needs is not Role.VIEWER and route not in HARMLESS:
        words = ", ".join(call.caller.forbidden)
        raise access_denied(
            f"{call.method} {match.pattern} is not for {call.caller.name}, "
            f"whose {call.caller.credential} forbids {words}"
        )
    return call


def refuse(caller: Caller, found: Iterable[Finding], holder: str) -> None:
    """Refuse a request if one of the findings is forbidden to its caller.

    Raises:
        EngineError: 403; the message says which word forbids what.

    """
    for finding in found:
        if finding.word in caller.forbidden:
            what = finding.what if len(finding.what) <= 200 else f"{finding.what[:200]}…"
            raise access_denied(f"the {caller.credential} of {caller.name} forbids {finding.word}, and {holder} {what}")


class LimitedStore(StoreProxy):
    """A store that aborts a transaction which gives a service what its caller is forbidden, by whichever request."""

    def __init__(self, store: Records, caller: Caller) -> None:
        super().__init__(store)
        self._caller = caller

    async def update(self, fn: Callable[[Transaction], R], by: str = "") -> R:
        return await super().update(lambda tx: self._checked(tx, fn), by)

    def try_out(self, fn: Callable[[Transaction], R]) -> R:
        return super().try_out(lambda tx: self._checked(tx, fn))

    def _checked(self, tx: Transaction, fn: Callable[[Transaction], R]) -> R:
        result = fn(tx)
        for change in tx.change_set().changes:
            if isinstance(change.new, Service) and not _same_spec(change.old, change.new):
                found = in_task(change.new.spec.task_template)
                refuse(self._caller, found, f"service {change.new.name} would have")
        return result


def _same_spec(old: StoredObject | None, new: Service) -> bool:
    return isinstance(old, Service) and old.spec == new.spec


# --- what is looked at ------------------------------------------------------------------------------------------------


def _body(rule: Callable[[Mapping[str, Any]], Iterable[Finding]]) -> Check:
    """Return the check of a JSON body. The body is encoded again, so that the engine gets what was checked."""

    async def check(_: Context, call: Call) -> Call:
        call.require_json()
        body = parse(call.body)
        if not isinstance(body, dict):
            raise invalid("invalid JSON: expected an object")
        refuse(call.caller, rule(body), "this asks for")
        return call.with_body(msgspec.json.encode(body) if call.body else b"")

    return check


async def _check_entered_container(context: Context, call: Call) -> Call:
    """Check the container that is entered or written to. From here on its id is used: a name may be reassigned."""
    found = await locate(context, call.params["id"])
    await _check_existing(context, call.caller, found)
    return msgspec.structs.replace(call, params={**call.params, "id": found.id})


async def _check_exec_create(context: Context, call: Call) -> Call:
    return await _check_entered_container(context, await _body(in_exec)(context, call))


async def _check_exec_start(context: Context, call: Call) -> Call:
    """Check an exec instance, which another client may have created."""
    exec_id = call.params["id"]
    node_id = await execs.find(context, exec_id)
    reply = await ask(context, node_id, "GET", f"/exec/{exec_id}/json")
    if not reply.ok:
        raise reply.error()
    shown = reply.read(ExecInspect)
    refuse(call.caller, in_exec(shown["ProcessConfig"] or {}), "this has")
    await _check_existing(context, call.caller, Found(node_id, shown["ContainerID"]))
    return call


async def _check_existing(context: Context, caller: Caller, found: Found) -> None:
    view = context.store.view
    holder = f"container {found.name or found.id[:12]} has"
    tasks = view.tasks.of_container(found.id)
    task = next((t for t in tasks if t.node_id == found.node_id and t.container == found.id), None)
    if task is not None:
        refuse(caller, in_task(task.spec), holder)
        return
    reply = await ask(context, found.node_id, "GET", f"/containers/{found.id}/json")
    if not reply.ok:
        raise reply.error()
    host: Mapping[str, Any] = reply.read(ContainerInspect).get("HostConfig") or {}
    attachment = attachment_of(view, found.id)
    ours = {mount.source for mount in attachment.status.mounts} if attachment is not None else set()
    refuse(caller, in_existing(host, ours), holder)


async def _check_build(_: Context, call: Call) -> Call:
    query = parse_qsl(raw_query(call), keep_blank_values=True)
    refuse(call.caller, in_build(query), "this asks for")
    return call


async def _refuse_buildkit(_: Context, call: Call) -> Call:
    words = ", ".join(call.caller.forbidden)
    raise access_denied(
        f"the {call.caller.credential} of {call.caller.name} forbids {words}, and requests to BuildKit itself "
        "cannot be inspected: build with DOCKER_BUILDKIT=0, or with 'swarm-manager image build'"
    )


CHECKS: Mapping[tuple[str, str], Check] = {
    ("POST", "/containers/create"): _body(in_container),
    ("POST", "/containers/{id}/update"): _body(in_host_config),
    ("POST", "/containers/{id}/exec"): _check_exec_create,
    ("POST", "/exec/{id}/start"): _check_exec_start,
    ("GET", "/exec/{id}/ws"): _check_exec_start,
    ("POST", "/containers/{id}/attach"): _check_entered_container,
    ("GET", "/containers/{id}/attach/ws"): _check_entered_container,
    ("HEAD", "/containers/{id}/archive"): _check_entered_container,
    ("GET", "/containers/{id}/archive"): _check_entered_container,
    ("PUT", "/containers/{id}/archive"): _check_entered_container,
    ("POST", "/volumes/create"): _body(in_volume),
    ("POST", "/build"): _check_build,
    ("POST", "/grpc"): _refuse_buildkit,
}

# Routes that create and enter no container; those that change services are checked in the transaction.
HARMLESS = frozenset(
    {
        *(("POST", f"/containers/{{id}}/{what}") for what in ("kill", "pause", "rename", "resize", "restart", "start")),
        *(("POST", f"/containers/{{id}}/{what}") for what in ("stop", "unpause", "wait")),
        ("DELETE", "/containers/{id}"),
        ("POST", "/containers/prune"),
        ("POST", "/commit"),
        ("GET", "/containers/{id}/export"),
        ("GET", "/containers/{id}/top"),
        ("GET", "/exec/{id}/json"),
        ("POST", "/exec/{id}/resize"),
        ("GET", "/images/get"),
        ("GET", "/images/{name+}/get"),
        ("POST", "/nodes/{id}/images/adopt"),
        ("GET", "/images/search"),
        ("GET", "/distribution/{name+}/json"),
        ("POST", "/images/load"),
        ("POST", "/images/create"),
        ("POST", "/images/{name+}/tag"),
        ("POST", "/images/{name+}/push"),
        ("DELETE", "/images/{name+}"),
        ("POST", "/images/prune"),
        ("POST", "/build/cancel"),
        ("POST", "/build/prune"),
        ("POST", "/session"),
        ("POST", "/volumes/prune"),
        ("DELETE", "/volumes/{name+}"),
        ("PUT", "/volumes/{name}"),
        ("POST", "/auth"),
        ("POST", "/networks/create"),
        ("POST", "/networks/prune"),
        ("DELETE", "/networks/{id}"),
        ("POST", "/networks/{id}/connect"),
        ("POST", "/networks/{id}/disconnect"),
        ("POST", "/networks/rotate-keys"),
        ("POST", "/nodes/{id}/update"),
        ("POST", "/services/create"),
        ("POST", "/services/{id}/update"),
        ("POST", "/services/{id}/rollout"),
        ("POST", "/services/{id}/rebalance"),
        ("DELETE", "/services/{id}"),
        ("POST", "/stacks/{name}/deploy"),
        ("POST", "/swarm/rebalance"),
        ("POST", "/swarm/volumes/{name+}/release"),
        ("POST", "/swarm/volumes/{name+}/claim"),
        ("POST", "/swarm/volumes/{name+}/move"),
        ("POST", "/swarm/volumes/{name+}/copy"),
        ("POST", "/swarm/volumes/{name+}/snapshot"),
        ("GET", "/swarm/volumes/{name+}/archive"),
        ("PUT", "/swarm/volumes/{name+}/archive"),
        ("POST", "/nodes/{id}/volumes/move"),
        ("DELETE", "/swarm/transfers/{id}"),
        *(("POST", f"/{noun}s/create") for noun in ("secret", "config")),
        *(("POST", f"/{noun}s/{{id}}/update") for noun in ("secret", "config")),
        *(("DELETE", f"/{noun}s/{{id}}") for noun in ("secret", "config")),
    }
)
