"""POST /containers/create: chooses the node, then has its engine make the container."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from common import progress
from common.errors import Unavailable
from common.imagenames import with_tag
from common.model.client import Role
from manager.api.bounded_json import WrongJson
from manager.api.call import Call, Reply
from manager.api.containers_image import of_image_id
from manager.api.containers_index import Claim
from manager.api.containers_list import LIST_SECONDS, listed
from manager.api.containers_locate import locate
from manager.api.containers_make import make, make_attached
from manager.api.containers_names import check_claims, check_name
from manager.api.containers_networks import check_addresses
from manager.api.containers_owner import put_made
from manager.api.containers_place import Seen, place
from manager.api.containers_request import Wanted, marked, read
from manager.api.context import Context
from manager.api.engine_answers import read as read_json
from manager.api.engine_types import Created, ImageInspect, Progress, Volume, VolumeList
from manager.api.errors import EngineError, invalid
from manager.api.images_find import find_local
from manager.api.images_pin import untold
from manager.api.proxy import ask, ask_all
from manager.api.proxy_presence import node_name, ready_ids
from manager.api.router import Route

# Of a pull's messages: the last one says how it ended.
_TAIL = 64 * 1024


async def create_container(context: Context, call: Call) -> Reply:
    """Make a container on the node that suits it best.

    An image that no node has is the engine's `No such image` (404): clients pull it then, and ask again. One that only
    unsuitable nodes have is pulled by the node that is chosen, or fetched from them if it is of no registry.
    """
    wanted = read(call, context.store.view)
    started = context.clock.now()
    if wanted.name:
        check_claims(context, wanted.name, started)
        await check_name(context, wanted.name)
    local = await find_local(context, wanted.image) if wanted.image else None
    image_id = local.image_id if local is not None else ""
    seen = await _look(context, wanted, image_id)
    if not any(each.image for each in seen.values()) and wanted.image:
        raise EngineError(404, f"No such image: {with_tag(wanted.image)}")
    only = await _beside(context, wanted)
    # From here to the claim nothing is awaited: two requests at once cannot take the same name or port.
    check_claims(context, wanted.name, started)
    only = _common(only, check_addresses(context.store.view, wanted.networks))
    node_id = place(context.store.view, wanted, seen, context.containers.claims(started), only)
    claim = Claim(node_id, wanted.name, wanted.ports, wanted.nano_cpus, wanted.memory)
    context.containers.claim(claim)
    try:
        if not seen[node_id].image and wanted.image:
            image_id = await _have(context, node_id, wanted, image_id)
        elif wanted.image:
            image_id = ""  # by its name
        body = marked(wanted, _labels(seen, node_id))
        if image_id:
            body = of_image_id(body, image_id, wanted.image)
        reply = await (make_attached if wanted.networks else make)(context, call, node_id, wanted, body)
    except BaseException:
        context.containers.release(claim)
        raise
    context.containers.finish(claim, context.clock.now())
    made = reply.read(Created)["Id"]
    if not put_made(context.containers, context.store.view, made, node_id, wanted.name):
        raise reply.wrong(f"the new container has the id {made[:12]}, which is that of another node's")
    return reply.answer()


async def _beside(context: Context, wanted: Wanted) -> frozenset[str] | None:
    """Return the one node that the container must be on, as others are there that it shares something with.

    Links within a network of the cluster reach over all nodes.

    Raises:
        EngineError: 400, there is no such container (clients would take a 404 for a missing image); 409, they are on
            different nodes.

    """
    others = dict.fromkeys(wanted.beside, "")
    others |= {link.target: f"could not get container for {link.target}: " for link in wanted.links}
    nodes = set()
    for reference, prefix in others.items():
        try:
            found = await locate(context, reference)
        except EngineError as error:
            raise invalid(f"{prefix}{error.message}") from None
        if reference in wanted.beside or not wanted.networks:
            nodes.add(found.node_id)
    if len(nodes) > 1:
        names = ", ".join(sorted(node_name(context.store.view, node_id) for node_id in nodes))
        raise EngineError(409, f"the containers {', '.join(others)} are on different nodes: {names}")
    return frozenset(nodes) or None


async def _look(context: Context, wanted: Wanted, image_id: str) -> dict[str, Seen]:
    """Ask every node what it runs, and whether it has image and volumes.

    With an `image_id`, a node that knows another image by the name does not have it.

    Raises:
        Unavailable: no engine can be asked.

    """

    async def one(node_id: str) -> Seen:
        containers = await ask(context, node_id, "GET", "/containers/json", query={"all": "1"})
        image = await _image(context, node_id, wanted.image)
        volumes = await _volumes(context, node_id, wanted)
        has = image is not None and (not image_id or image["Id"] == image_id)
        config = image.get("Config") if image is not None else None
        runs = tuple(await listed(containers)) if containers.ok else ()
        return Seen(runs, has, volumes, (config or {}).get("Labels") or {})

    seen, reasons = await ask_all(one, ready_ids(context.store.view), seconds=LIST_SECONDS)
    if reasons and not seen:
        raise Unavailable(f"no node's engine can be asked: {'; '.join(reasons.values())}")
    return seen


def _labels(seen: Mapping[str, Seen], node_id: str) -> Mapping[str, str]:
    """Return the labels of the image as its node knows it, else as others do."""
    return seen[node_id].labels or {name: text for each in seen.values() for name, text in each.labels.items()}


async def _image(context: Context, node_id: str, name: str) -> ImageInspect | None:
    """Ask a node for an image; None when it has none of that name, or none is named."""
    if not name:
        return None
    reply = await ask(context, node_id, "GET", f"/images/{quote(name, safe='/:@')}/json")
    return reply.read(ImageInspect) if reply.ok else None


async def _volumes(context: Context, node_id: str, wanted: Wanted) -> frozenset[str]:
    if not wanted.volumes:
        return frozenset()
    reply = await ask(context, node_id, "GET", "/volumes")
    found = await reply.items(Volume, reply.parts(VolumeList).get("Volumes")) if reply.ok else []
    return frozenset(volume["Name"] for volume in found) & set(wanted.volumes)


async def _have(context: Context, node_id: str, wanted: Wanted, image_id: str) -> str:
    """Have the chosen node get the image, which others have; return the id to make the container of, empty: its name.

    Raises:
        SwarmError: it could not.

    """
    if image_id:
        return await context.engines.bring_image(node_id, image_id)
    try:
        await _pull(context, node_id, wanted)
    except EngineError:
        located = await untold(context, wanted.image)
        if located is None:
            raise
        return await context.engines.bring_image(node_id, located.image_id)
    return ""


async def _pull(context: Context, node_id: str, wanted: Wanted) -> None:
    """Have the chosen node pull the image, which other nodes have.

    Raises:
        EngineError: 404, it could not.

    """
    query = {"fromImage": with_tag(wanted.image)}
    reply = await ask(context, node_id, "POST", "/images/create", query=query, seconds=None, tail=_TAIL)
    failure = reply.message if not reply.ok else _pull_failure(reply.body)
    if failure:
        name = node_name(context.store.view, node_id)
        raise EngineError(404, f"No such image: {wanted.image} on node {name}, which cannot pull it: {failure}")


def _pull_failure(messages: bytes) -> str:
    """Return the error that the last of a pull's messages tells of, empty if it went well."""
    last = next((line for line in reversed(messages.splitlines()) if line.strip()), b"{}")
    try:
        return progress.failure(read_json(last, Progress))
    except WrongJson:
        return "it said no more than " + last[-200:].decode(errors="replace")


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Return the nodes in both; None stands for all."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


ROUTES = (Route("POST", "/containers/create", create_container, needs=Role.OPERATOR),)
