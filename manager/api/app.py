"""The API as one object: routes, their context, and the answer to every request, whatever happens inside."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import msgspec

from common.aio.steady import keep_going
from common.clock import Clock
from common.errors import SwarmError
from common.ids import new_id
from manager.api import dashboard, files, swarm, system
from manager.api.access import audit as audit_log
from manager.api.access import credentials
from manager.api.access.acting_store import ActingStore
from manager.api.access.audit import Audit, AuditLog, Subject, created_id, granted_changes, subject_of
from manager.api.access.forbidden_routes import check_request, restrict_context
from manager.api.access.redaction import redact_reply
from manager.api.access.roles import authorise, look_up_caller, lower_role
from manager.api.access.sites import check_site
from manager.api.call import Answer, BodyHandling, Call, Relay, Reply, Stream
from manager.api.containers import create as containers_create
from manager.api.containers import execs
from manager.api.containers import list as containers_list
from manager.api.containers import routes as containers
from manager.api.containers.index import ContainerIndex
from manager.api.context import Context, Telemetry, ThisManager, this_host
from manager.api.engine.connections import Engines
from manager.api.engine.presence import Presence
from manager.api.errors import EngineError, describe, invalid
from manager.api.events import routes as events
from manager.api.events.log import EventLog
from manager.api.http.answer_memory import AnswerMemory, Lease
from manager.api.images import adopt, build, record, registry, remove
from manager.api.images import list as images_list
from manager.api.images import routes as images
from manager.api.leader.forward import forward
from manager.api.leader.quorum import INDEX_HEADER, MADE_HEADER
from manager.api.logs import routes as logs
from manager.api.logs.stream import FollowedLogs
from manager.api.metrics import routes as metrics
from manager.api.networks import connect
from manager.api.networks import routes as networks
from manager.api.nodes import rebalance
from manager.api.nodes import routes as nodes
from manager.api.overview import routes as overview
from manager.api.overview import usage
from manager.api.overview.feed import Feed
from manager.api.overview.observer import Observer
from manager.api.render import JsonCache
from manager.api.router import Match, Place, Router
from manager.api.services import rollouts, stacks, tasks
from manager.api.services import routes as services
from manager.api.volumes import archives as volume_archives
from manager.api.volumes import claims as volume_claims
from manager.api.volumes import moves as volume_moves
from manager.api.volumes import routes as volumes
from manager.ca.authority import Authority
from manager.metrics.facts import Facts, gather
from manager.metrics.families import Pages
from manager.metrics.soft_state import SoftState
from manager.overview.timeline import KEPT
from manager.schedule.load import ClusterLoad
from manager.store.backend import LeadershipLost, NotLeader, Unknown
from manager.store.store import Store

_LOG = logging.getLogger(__name__)

# Resources that exist only in a cluster.
_CLUSTER_RESOURCES = frozenset({"configs", "nodes", "secrets", "services", "stacks", "swarm", "tasks"})
_NO_CLUSTER = "This node is not a swarm manager. Run 'swarm-manager init' to make a cluster, and try again."
# With it a caller asks for a lesser role than its own; the audit log has its own.
ROLE_HEADER = "swarm-role"
# All that a locked manager answers, and its refusal of everything else: the engine's words, and the command here.
_WHILE_LOCKED = frozenset({"/_ping", "/info", "/version", "/swarm/unlock"})
_LOCKED = (
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it. '
    "On the manager's host 'swarm-manager unlock' does that."
)
_FORMS = ("application/x-www-form-urlencoded", "multipart/")
RESOURCES = (
    system,
    swarm,
    overview,
    usage,
    metrics,
    credentials,
    audit_log,
    dashboard,
    nodes,
    services,
    stacks,
    rebalance,
    rollouts,
    tasks,
    logs,
    files,
    networks,
    connect,
    events,
    registry,
    containers_create,
    containers_list,
    containers,
    execs,
    volumes,
    volume_archives,
    volume_claims,
    volume_moves,
    images_list,
    adopt,
    record,
    remove,
    images,
    build,
)


class Api:
    """Answers every `Call` with a reply. Open it with `async with` while the store is loaded.

    `audit` is told of every change. `load()` is what the scheduler knows of nodes, None where it does not run.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        engines: Engines,
        authority: Authority,
        manager: ThisManager,
        audit: AuditLog,
        *,
        telemetry: Telemetry | None = None,
        load: Callable[[], ClusterLoad | None] = lambda: None,
    ) -> None:
        telemetry = telemetry or Telemetry(soft=SoftState.new(store.view, clock))
        self._router = Router(route for resource in RESOURCES for route in resource.ROUTES)
        self._audit = Audit(audit.record, clock)
        self._tasks = asyncio.TaskGroup()
        self._followers: list[asyncio.Task[None]] = []
        self._memory = AnswerMemory()
        self._instruments = telemetry.instruments
        observer = Observer(
            store, clock, self._instruments, lambda: granted_changes(audit.read("", KEPT, changes=True))
        )
        self.context = Context(
            store=store,
            clock=clock,
            rng=rng,
            engines=engines,
            identity=manager.identity,
            authority=authority,
            host=this_host(),
            quorum=manager.quorum,
            leave=manager.leave,
            events=EventLog(),
            cache=JsonCache(),
            presence=Presence(),
            containers=ContainerIndex(),
            followed=FollowedLogs(),
            soft=telemetry.soft,
            overview=observer,
            feed=Feed(observer, telemetry.soft.usages, store, clock),
            load=load,
            pages=Pages(self._facts, self._instruments, telemetry.vitals),
            read_audit=audit.read,
            answers=self._memory.lease(),
            keys=manager.keys,
        )

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        context = self.context
        followers = {
            "api-events": context.events.run(context.store, context.clock),
            "api-presence": context.presence.run(context.store),
            "api-overview": keep_going("the overview", context.overview.run),
            "api-feed": keep_going("the overview's feed", context.feed.run),
        }
        self._followers = [self._tasks.create_task(each, name=name) for name, each in followers.items()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_streams()
        for follower in self._followers:
            follower.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    async def _facts(self) -> Facts:
        """Gather what the metrics page is made of."""
        context = self.context
        self._instruments.streams("events", context.events.listeners)
        self._instruments.streams("overview", context.feed.followers)
        leads, version = context.quorum.leads, context.identity.version
        view, now = context.store.view, context.clock.now()
        hosts = {node.id: context.soft.usages.host(node.id, now) for node in view.nodes}

        def used(service_id: str) -> tuple[float | None, ...]:
            return context.soft.usages.service(service_id, now)

        contacts = context.soft.contacts.of(view.nodes, asyncio.get_running_loop().time())
        return await gather(context.overview.counters, view, hosts, used, version, leads=leads, contacts=contacts)

    def end_streams(self) -> None:
        """End the streams that never end by themselves."""
        self.context.events.end()
        self.context.feed.end()

    def body_handling(self, call: Call) -> BodyHandling:
        """Tell what the server does with a request's body. It is not read for a caller who may not use the route."""
        role = call.caller.role
        try:
            match = self._router.match(call.method, call.path)
        except EngineError:  # `answer` says what is wrong
            return BodyHandling.UNREAD if role is None else BodyHandling.READ
        if match.place is Place.LEADER and not self.context.quorum.leads:
            return BodyHandling.FORWARDED
        if match.raw or role is None:
            return BodyHandling.UNREAD
        is_large = match.large and match.needs is not None and role >= match.needs
        return BodyHandling.READ_LARGE if is_large else BodyHandling.READ

    def lease(self) -> Lease:
        """Return the share of engines' answers that a request may hold, until its context ends."""
        return self._memory.lease()

    async def answer(self, call: Call, lease: Lease | None = None) -> Reply:
        """Answer a request; a failure becomes an answer, too. The `lease` must last until the reply has been sent."""
        if lease is None:
            with self.lease() as own:
                return await self.answer(call, own)
        match: Match | None = None
        subject = Subject()
        view, began = self.context.store.view, time.perf_counter()
        try:
            check_site(call)
            caller = look_up_caller(call.caller, view, self.context.clock.now())
            if ROLE_HEADER in call.headers:
                caller = lower_role(caller, call.headers[ROLE_HEADER])
            _check_text(call)
            match = self._router.match(call.method, call.path)
            subject = subject_of(view, match)
            authorise(caller, match.needs, f"{call.method} {match.pattern}")
            reply = redact_reply(
                caller, await self._handle(match, msgspec.structs.replace(call, caller=caller), lease), lease
            )
        except asyncio.CancelledError:
            if not call.forwarded:
                self._audit.record_unanswered(call, match, subject)
            raise
        except Exception as error:  # noqa: BLE001  # nothing unexpected may reach the client as it is
            reply = self.failure(call, error)
        self._measure(call, match, reply, time.perf_counter() - began)
        if call.forwarded:  # who asked is audited where they asked
            return self._indexed(reply)
        return self._audit.record_reply(call, match, subject, reply)

    def _indexed(self, reply: Reply) -> Reply:
        """Tell the manager that passed a request on which change its store must have before its client is answered."""
        if not isinstance(reply, Answer):
            return reply
        said = {INDEX_HEADER: str(self.context.store.index), MADE_HEADER: created_id(reply)}
        return replace(reply, headers={**reply.headers, **{name: value for name, value in said.items() if value}})

    def _measure(self, call: Call, match: Match | None, reply: Reply, seconds: float) -> None:
        """Measure a request under its route. Without one it has no label of its own: a client could invent many."""
        code = "relayed" if isinstance(reply, Relay) else str(reply.status)
        route, method = (match.pattern, call.method) if match is not None else ("none", "none")
        self._instruments.answered(method, route, code, seconds)

    async def _handle(self, match: Match, call: Call, lease: Lease) -> Reply:
        if self.context.keys.locked:
            if match.pattern not in _WHILE_LOCKED:
                raise EngineError(503, _LOCKED)
        elif match.resource in _CLUSTER_RESOURCES and not len(self.context.store.view.clusters):
            raise EngineError(503, _NO_CLUSTER)
        quorum, warning = self.context.quorum, ""
        if call.unread and match.place is Place.LEADER:
            return forward(quorum, call)
        if match.place is Place.STORE:
            warning = await quorum.catch_up()
        acting = ActingStore(self.context.store, call.caller.name)
        context = msgspec.structs.replace(self.context, answers=lease, store=acting)
        call = call.matched(match.params, match.version)
        if call.caller.forbidden:
            context = restrict_context(context, call.caller)
            call = await check_request(context, match, call)
        reply = await match.handler(context, call)
        if warning and isinstance(reply, Answer | Stream):
            return replace(reply, headers={**reply.headers, "Warning": f'299 swarm-manager "{warning}"'})
        return reply

    def failure(self, call: Call, error: Exception) -> Answer:
        """Return the answer for a failure. A bug is logged under an incident number, which the client is told."""
        refused = isinstance(error, NotLeader | LeadershipLost) and not isinstance(error, Unknown)
        if refused and (trouble := self.context.quorum.trouble):
            return Answer(503, {"message": trouble})
        if isinstance(error, SwarmError):
            status, message = describe(error)
            return Answer(status, {"message": message.encode(errors="replace").decode()})
        incident = new_id(self.context.rng)[:12]
        _LOG.error("incident %s: %s %.200r failed", incident, call.method, call.path, exc_info=error)
        text = f"internal error, incident {incident}: the manager's log says more under this number"
        return Answer(500, {"message": text})


def _check_text(call: Call) -> None:
    """Refuse a path or query that no engine could be sent, and a form, whose fields engines take for the query's.

    Raises:
        EngineError: 400, it holds half of a surrogate pair, or is a form.

    """
    if call.headers.get("content-type", "").strip().lower().startswith(_FORMS):
        raise invalid("the API does not accept form bodies: give parameters in the query")
    try:
        "".join((call.path, *call.query, *call.query.values())).encode()
    except UnicodeEncodeError:
        raise invalid("the path or the query is not valid UTF-8") from None
