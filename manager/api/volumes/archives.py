"""/swarm/volumes/{name}/archive: a volume as a tar archive, and a new volume of one. Not Docker's.

The bytes go between the client and the worker of the volume's node as they come; nothing is kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from common.errors import InvalidArgument, Unavailable
from common.ids import new_id
from common.model import Volume
from common.model.client import Role
from common.model.volume import new_lineage, volume_id
from common.wire.volume_copy import (
    CONTROL,
    DATA,
    PIECE,
    VOLUME_NAME,
    CopyCommand,
    CopyControl,
    Ends,
    Order,
    begin,
)
from manager.api.call import JSON, Call, Exchange, Relay, Reply
from manager.api.context import Context
from manager.api.errors import invalid
from manager.api.router import Route
from manager.api.volumes.find import Volume as Found
from manager.api.volumes.find import find, only, split
from manager.domain.hostnames import node_name
from manager.domain.transfers import arrived
from manager.store.transaction import Transaction

TAR = "application/x-tar"
# When the way of the bytes breaks, its worker may say why within this time.
WORD_SECONDS = 2.0


async def read_archive(context: Context, call: Call) -> Reply:
    """Send what is in a volume."""
    reference = call.params["name"]
    found = await find(context, *split(context, reference))
    volume = only(context, reference, _current(context, found) or found)

    async def run(exchange: Exchange) -> None:
        order = Order(id=new_id(context.rng), part="export", volume=volume.name)
        async with _archive(context, volume.node_id, order) as (control, data):
            sent, piece = 0, await _read(data[0])
            if piece:
                await exchange.start(200, {"Content-Type": TAR})
            while piece:
                await exchange.send(piece)
                sent, piece = sent + len(piece), await _read(data[0])
            _check_length((await control.wait_for("archived")).done, sent)

    return Relay(run)


def _current(context: Context, found: list[Found]) -> list[Found]:
    """Leave out what was moved away or left behind: it is written out where its node is named."""
    copies = context.store.view.volumes
    return [each for each in found if (copy := copies.get(volume_id(each.node_id, each.name))) is None or copy.eligible]


async def write_archive(context: Context, call: Call) -> Reply:
    """Make a volume of the archive that is sent. It is there as a whole, or not at all."""
    reference = call.params["name"]
    node_id, name = split(context, reference)
    if not node_id:
        raise invalid(f"{reference} does not name the node for the volume: write NODE/{name}")
    if VOLUME_NAME.fullmatch(name) is None:
        raise invalid(f"{name[:200]!r} is not a valid volume name")

    async def run(exchange: Exchange) -> None:
        data_id = new_lineage(context.rng)
        order = Order(id=new_id(context.rng), part="import", volume=name, data_id=data_id)
        async with _archive(context, node_id, order) as (control, data):
            length = await _send(exchange, control, data)
            come = Volume(name=name, data_id=data_id)
            control.tell(CopyCommand(do="mark", generation=come.generation + 1))
            await control.wait_for("marked")
            await context.store.update(lambda tx: _record(tx, node_id, come))
        value = {"Name": name, "Node": node_name(context.store.view, node_id), "Bytes": length}
        await exchange.start(201, {"Content-Type": JSON})
        await exchange.send(msgspec.json.encode(value))

    return Relay(run)


def _record(tx: Transaction, node_id: str, come: Volume) -> None:
    """Let the volume be known at once. A slot whose data was removed there goes on with what was restored."""
    tx.put(arrived(node_id, come, tx))


@contextlib.asynccontextmanager
async def _archive(context: Context, node_id: str, order: Order) -> AsyncIterator[tuple[CopyControl, Ends]]:
    """Have a node's worker begin with an archive, while the node is there."""
    async with context.presence.guard(context.store.view, node_id):
        control = begin(await context.engines.volumes(node_id, CONTROL), order)
        with contextlib.closing(control[1]):
            said = CopyControl(*control, node_name(context.store.view, node_id))
            await said.wait_for("prepared")
            data = begin(await context.engines.volumes(node_id, DATA), order)
            with contextlib.closing(data[1]):
                yield said, data


async def _send(exchange: Exchange, control: CopyControl, data: Ends) -> int:
    """Send the client's archive to the worker; return its length when the worker has all of it on its disk."""
    sending = asyncio.create_task(_pass_on(exchange, data[1]))
    hearing = asyncio.create_task(control.wait_for("archived"))
    jobs = {sending, hearing}
    try:
        await asyncio.wait(jobs, return_when=asyncio.FIRST_EXCEPTION)
        if not hearing.done() and isinstance(sending.exception(), Unavailable):
            await asyncio.wait({hearing}, timeout=WORD_SECONDS)
        if hearing.done() and (error := hearing.exception()) is not None:
            raise error
        sent = sending.result()
        _check_length(hearing.result().done, sent)
        return sent
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)


async def _pass_on(exchange: Exchange, writer: asyncio.StreamWriter) -> int:
    sent = 0
    async for piece in exchange.body():
        try:
            writer.write(piece)
            await writer.drain()
        except OSError as error:
            raise Unavailable(f"the connection to the worker broke: {error}") from error
        sent += len(piece)
    if not sent:
        raise InvalidArgument("this is not a complete tar archive: it is empty, or ends too early")
    writer.write_eof()
    return sent


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(PIECE)
    except OSError as error:
        raise Unavailable(f"the connection to the worker broke: {error}") from error


def _check_length(done: int, passed: int) -> None:
    if done != passed:
        raise Unavailable(f"the archive has {done} bytes at the worker, but {passed} were passed on: try again")


ROUTES = (
    Route("GET", "/swarm/volumes/{name+}/archive", read_archive, raw=True, needs=Role.OPERATOR),
    Route("PUT", "/swarm/volumes/{name+}/archive", write_archive, raw=True, needs=Role.OPERATOR),
)
