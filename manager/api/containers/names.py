"""Names of containers: each once in the whole cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from manager.api.containers.index import Claim
from manager.api.containers.locate import LOOK_SECONDS
from manager.api.context import Context
from manager.api.engine.presence import ready_ids
from manager.api.engine.proxy import ask, ask_all
from manager.api.engine.types import ContainerInspect
from manager.api.errors import EngineError


def conflict(name: str, holder: str) -> EngineError:
    """Word a name that is taken, as the engine does."""
    return EngineError(
        409,
        f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
    )


async def check_name(context: Context, name: str, but: str = "") -> None:
    """Look whether a container has the name, the one with the id `but` aside, on the nodes that answer.

    Raises:
        EngineError: 409.

    """

    async def one(node_id: str) -> ContainerInspect | None:
        reply = await ask(context, node_id, "GET", f"/containers/{name}/json", seconds=None)
        return reply.read(ContainerInspect) if reply.ok else None

    results, _ = await ask_all(one, ready_ids(context.store.view), seconds=LOOK_SECONDS)
    for found in results.values():
        if found is not None and found["Name"] == f"/{name}" and found["Id"] != but:
            raise conflict(name, found["Id"])


def check_claims(context: Context, name: str, since: float) -> None:
    """Raise 409 when a container of that name is being made, or was since an instant."""
    if name and any(claim.name == name for claim in context.containers.claims(since)):
        raise conflict(name, "that is being created")


@asynccontextmanager
async def claim_name(context: Context, name: str, node_id: str, but: str = "") -> AsyncIterator[None]:
    """Hold a name while something is given it.

    Raises:
        EngineError: 409, the name is taken.

    """
    name = name.removeprefix("/")
    check_claims(context, name, context.clock.now())
    claim = Claim(node_id, name)
    context.containers.claim(claim)
    try:
        if name:
            await check_name(context, name, but)
        yield
    except BaseException:
        context.containers.release(claim)
        raise
    context.containers.finish(claim, context.clock.now())
