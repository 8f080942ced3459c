"""Attachments of unmanaged containers: created with the container, changed by `network connect` and `disconnect`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from itertools import compress
from typing import TypeVar

import msgspec

from common.errors import NotFound, Unavailable
from common.ids import new_id
from common.model import NetworkAttachment
from common.model.attachment import AttachmentStatus
from manager.api.containers.networks import leased_networks
from manager.api.context import Context
from manager.api.engine.proxy import ask
from manager.api.engine.types import ContainerInspect
from manager.api.errors import EngineError
from manager.domain.hostnames import node_name
from manager.store.transaction import Transaction
from manager.store.view import View
from manager.store.watch import Lagged

T = TypeVar("T")

# Longer than a worker tries, which is 30 s.
ATTACH_SECONDS = 40.0
# How long the start of a container waits for the cluster at most, and after which time its engine is asked whether the
# container runs.
NOTICE_SECONDS = 3.0
LOOK_SECONDS = 0.05


def attachment_of(view: View, container_id: str) -> NetworkAttachment | None:
    """Return the live attachment of a container, by its full id."""
    attachments = view.attachments.of_container(container_id)
    return next((each for each in attachments if each.live and each.container == container_id), None)


def users_of(view: View, network_id: str) -> list[NetworkAttachment]:
    """Return the live attachments to a network, in the order of the containers' names."""
    users = (each for each in view.attachments if each.live and any(n.target == network_id for n in each.networks))
    return sorted(users, key=lambda each: each.name)


@asynccontextmanager
async def attach_container(context: Context, draft: NetworkAttachment) -> AsyncIterator[NetworkAttachment]:
    """Have a node prepare networks for a container, which the block creates; if it fails, nothing is left behind.

    Raises:
        EngineError: 400, 409; a network or an address is not available.
        Unavailable: the node cannot prepare it; says why.

    """
    draft = msgspec.structs.replace(draft, id=new_id(context.rng))
    try:
        stored = await _store(context, lambda _: draft)
        yield await _wait_until_prepared(context, stored)
    except BaseException:
        await context.store.update(lambda tx: tx.remove(draft))
        raise


@asynccontextmanager
async def join_network(
    context: Context, network_id: str, wanted: Callable[[View], NetworkAttachment]
) -> AsyncIterator[NetworkAttachment]:
    """Have a node prepare another network for a container, which the block connects; if it fails, this is undone.

    `wanted` returns the attachment with that network, made of the newest state.

    Raises:
        EngineError: what `wanted` raises; 400, 409; the network or the address is not available.
        Unavailable: the node cannot prepare it; says why.

    """
    stored = await _store(context, wanted)
    try:
        yield await _wait_until_prepared(context, stored)
    except BaseException:
        await detach_network(context, stored.id, network_id)
        raise


async def _store(context: Context, wanted: Callable[[View], NetworkAttachment]) -> NetworkAttachment:
    def put(tx: Transaction) -> NetworkAttachment:
        made = wanted(tx)
        fresh = msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, err=""))
        for network in leased_networks(tx, fresh):
            tx.put(network)
        tx.put(fresh)
        return fresh

    return await context.store.update(put)


async def wait_until_noticed(context: Context, container_id: str) -> None:
    """Wait until the cluster knows that a container was started: it is listed, and all hosts know its names.

    Returns when it has ended meanwhile, and after NOTICE_SECONDS at most.
    """

    def running(view: View) -> bool | None:
        found = attachment_of(view, container_id)
        return found is None or found.status.running or None

    try:
        async with asyncio.timeout(NOTICE_SECONDS):
            while not await _within(LOOK_SECONDS, _wait_for(context, running)):
                known = attachment_of(context.store.view, container_id)
                if known is None or not await _runs(context, known):
                    return
            await context.engines.applied()
    except (TimeoutError, Unavailable):
        return


async def _within(seconds: float, waiting: Awaitable[bool]) -> bool:
    """Return what is awaited, False if it takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except TimeoutError:
        return False


async def _runs(context: Context, attachment: NetworkAttachment) -> bool:
    reply = await ask(context, attachment.node_id, "GET", f"/containers/{attachment.container}/json")
    return reply.ok and runs(reply.read(ContainerInspect))


def runs(shown: ContainerInspect) -> bool:
    """Whether a container runs, by its engine's answer to `inspect`."""
    return (shown.get("State") or {}).get("Running", False)


async def _wait_for(context: Context, found: Callable[[View], T | None]) -> T:
    """Wait until `found` returns something for the newest state, and return that."""
    with context.store.watch() as changes:
        while (value := found(context.store.view)) is None:
            with contextlib.suppress(Lagged):  # the state itself is looked at
                await changes.next()
        return value


async def _wait_until_prepared(context: Context, stored: NetworkAttachment) -> NetworkAttachment:
    """Return an attachment when its node has what it needs.

    Raises:
        Unavailable: the node cannot prepare it; says why.

    """
    try:
        async with context.presence.guard(context.store.view, stored.node_id), asyncio.timeout(ATTACH_SECONDS):
            return await _wait_for(context, lambda view: _final_attachment(view, stored.id))
    except TimeoutError:
        name = node_name(context.store.view, stored.node_id)
        raise Unavailable(f"node {name} did not prepare the networks within {ATTACH_SECONDS:g} s") from None


def _final_attachment(view: View, attachment_id: str) -> NetworkAttachment | None:
    found = view.attachments.get(attachment_id)
    if found is None or not found.live:
        raise Unavailable("the attachment to the network ended during this request: try again")
    if found.status.err:
        raise Unavailable(f"node {node_name(view, found.node_id)}: {found.status.err}")
    return found if all(found.end_in(each.target) is not None for each in found.networks) else None


async def bind(context: Context, attachment_id: str, container_id: str) -> None:
    """Record which container an attachment is of."""

    def put(tx: Transaction) -> None:
        found = tx.attachments.get(attachment_id)
        if found is not None and found.live:
            tx.put(msgspec.structs.replace(found, container_id=container_id))

    await context.store.update(put)


async def detach_network(context: Context, attachment_id: str, network_id: str) -> None:
    """Take a network from an attachment. Its address there stays reserved for a while, like that of an ended one."""

    def put(tx: Transaction) -> None:
        found = tx.attachments.get(attachment_id)
        if found is None or not found.live:
            return
        gone = tuple(each for each in found.networks if each.target == network_id)
        left = tuple(each for each in found.networks if each.target != network_id)
        ends = tuple(end for end in found.status.ends if end.network_id != network_id)
        status = msgspec.structs.replace(found.status, ends=ends, err="")
        trace = msgspec.structs.replace(
            found,
            id=new_id(context.rng),
            networks=gone,
            ended_at=tx.now,
            created_at=0.0,
            status=AttachmentStatus(gone=True),
        )
        tx.put(msgspec.structs.replace(found, networks=left, status=status))
        tx.put(trace)

    await context.store.update(put)


async def forget_gone(context: Context, network_ids: Collection[str]) -> None:
    """End the attachments to these networks whose containers are gone, where their worker has not said so yet.

    Containers of a node that cannot be asked count as present.
    """
    held = [each for each in context.store.view.attachments if each.live and each.container]
    held = [each for each in held if any(network.target in network_ids for network in each.networks)]
    gone = await asyncio.gather(*(_is_gone(context, each) for each in held))
    for attachment in compress(held, gone):
        await context.store.update(partial(_end, gone=attachment))


async def _is_gone(context: Context, attachment: NetworkAttachment) -> bool:
    try:
        reply = await ask(context, attachment.node_id, "GET", f"/containers/{attachment.container}/json")
    except Unavailable:
        return False
    return reply.status == NotFound.status


def _end(tx: Transaction, gone: NetworkAttachment) -> None:
    found = tx.attachments.get(gone.id)
    if found is not None and found.live:
        tx.put(msgspec.structs.replace(found, ended_at=tx.now))


def in_use_error(view: View, network_id: str, name: str) -> EngineError | None:
    """Return the error that unmanaged containers hold a network; None if none does."""
    users = users_of(view, network_id)
    if not users:
        return None
    first = users[0]
    more = f", and {len(users) - 1} more" if len(users) > 1 else ""
    container = first.name or first.container[:12]
    return EngineError(
        409,
        f"network {name} is in use by container {container} on node {node_name(view, first.node_id)}{more}: "
        f"remove it, or 'docker network disconnect {name} {container}'",
    )
