"""Images that come to the cluster: loaded, imported or pulled on one node, whose names are the cluster's then."""

from __future__ import annotations

from collections.abc import Mapping

from common.model.client import Role
from common.text.image_names import split_tag, with_tag
from manager.api.call import Call, Reply
from manager.api.context import Context
from manager.api.engine.proxy import forward
from manager.api.images.builder import builder, for_engine
from manager.api.images.own import parse_own, refuse_own
from manager.api.images.progress import Listener, Progress
from manager.api.images.record import NameChange, record
from manager.api.router import Route
from manager.api.services.container_validation import is_image


async def load(context: Context, call: Call) -> Reply:
    """Load an archive on one node; others fetch from there what they need."""
    node_id = builder(context)

    async def loaded(progress: Progress) -> None:
        names = [name for name in progress.loaded if is_image(name) and parse_own(name) is None]
        await record(context, NameChange("load", call.caller, node_id), names)

    return forward(context, node_id, call, "/images/load", hearer=Listener(loaded))


async def create(context: Context, call: Call) -> Reply:
    """Pull, or import an archive, on one node. Services' tasks pull on their own nodes."""
    if call.query.get("fromSrc"):
        return _import(context, call)
    node_id = builder(context)
    wanted = pulled_reference(call.query)
    refuse_own([wanted])

    async def done(progress: Progress) -> None:
        names = [wanted] if ":" in wanted.rpartition("/")[2] else [f"{wanted}:{tag}" for tag in progress.pulled]
        await record(context, NameChange("pull", call.caller, node_id), filter(is_image, names))

    return forward(context, node_id, for_engine(context, node_id, call), "/images/create", hearer=Listener(done))


def _import(context: Context, call: Call) -> Reply:
    node_id = builder(context)
    names = [tagged_name(call.query)] if call.query.get("repo") else []
    refuse_own(names)

    async def done(_: Progress) -> None:
        await record(context, NameChange("import", call.caller, node_id), filter(is_image, names))

    return forward(context, node_id, call, "/images/create", hearer=Listener(done))


def tagged_name(query: Mapping[str, str]) -> str:
    """Return the name that `repo` and `tag` of a query give."""
    repository, tag = query.get("repo", ""), query.get("tag", "")
    return f"{repository}:{tag}" if tag else with_tag(repository)


def pulled_reference(query: Mapping[str, str]) -> str:
    """Return the reference that a query asks to be pulled; without a tag, all tags of it are."""
    name, tag = query.get("fromImage", ""), query.get("tag", "")
    if not tag:
        return name
    bare, _ = split_tag(name.partition("@")[0])
    return f"{bare}@{tag}" if ":" in tag else f"{bare}:{tag}"


async def search(context: Context, call: Call) -> Reply:
    """Search a registry."""
    node_id = builder(context)
    return forward(context, node_id, for_engine(context, node_id, call), "/images/search")


ROUTES = (
    Route("GET", "/images/search", search, needs=Role.OPERATOR, raw=True),
    Route("POST", "/images/load", load, needs=Role.OPERATOR, raw=True),
    Route("POST", "/images/create", create, needs=Role.OPERATOR, raw=True),
)
