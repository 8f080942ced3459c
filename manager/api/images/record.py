"""Writing down what clients make names of images mean, when an engine has done what they asked for.

What a name means then is read from the very engine on which the client's call has run, and from no other.

Images come to the cluster when one node loads, imports or pulls them: their names are the cluster's then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from common.model import ImageName
from common.model.client import Role
from common.text.image_names import from_registry, full_name, split_tag, with_tag
from manager.api.access.roles import Caller
from manager.api.call import Call, Reply
from manager.api.context import Context
from manager.api.engine.forward import forward
from manager.api.engine.types import ImageInspect
from manager.api.images.on_node import image_on
from manager.api.images.own import parse_own, refuse_own
from manager.api.images.progress import Progress, ProgressListener
from manager.api.images.registry import builder, for_engine
from manager.api.router import Route
from manager.api.services.container_validation import is_image
from manager.store.transaction import Transaction

_LOG = logging.getLogger(__name__)

# What a registry has an image by, under one name: more than its present digest is of no use.
_MAX_DIGESTS = 16
# Of an operating system or architecture.
_MAX_WORD = 64


@dataclass(frozen=True, slots=True)
class NameChange:
    """What a client's call has done: `how` as in `ImageName`, by whom, and on which node."""

    how: str
    caller: Caller
    node_id: str


async def record(context: Context, done: NameChange, names: Iterable[str]) -> tuple[ImageName, ...]:
    """Write down that these names mean what the engine has by them now; return the records.

    Names that the engine does not have are left out: another call has taken them away meanwhile.

    Raises:
        Unavailable: the engine does not tell.

    """
    found = {name: await image_on(context, done.node_id, name) for name in dict.fromkeys(map(full_name, names))}
    made = tuple(name_for(name, image, done) for name, image in found.items() if image is not None)
    if len(made) < len(found):
        missing = ", ".join(name for name, image in found.items() if image is None)
        _LOG.warning("after a %s, node %s has no image by the name %s", done.how, done.node_id, missing)
    await put(context, made)
    return made


async def put(context: Context, names: Iterable[ImageName]) -> None:
    """Store records; one that says what is known already is not written again."""

    def write(tx: Transaction) -> None:
        for name in names:
            if not _says_the_same(tx.image_names.get(name.id), name):
                tx.put(name)

    await context.store.update(write)


def _says_the_same(old: ImageName | None, new: ImageName) -> bool:
    kept: dict[str, Any] = {"version": new.version, "created_at": new.created_at, "updated_at": new.updated_at}
    return old is not None and msgspec.structs.replace(old, **kept) == new


async def unname(context: Context, given: Callable[[ImageName], bool], names: Iterable[str]) -> None:
    """Remove those of these names for which `given` still holds: clients may have given them again meanwhile."""

    def remove(tx: Transaction) -> None:
        for each in names:
            name = tx.image_names.get(each)
            if name is not None and given(name):
                tx.remove(name)

    await context.store.update(remove)


def name_for(name: str, image: ImageInspect, done: NameChange) -> ImageName:
    """Return the record of a name for an image of an engine. Pure."""
    said = (each for each in image.get("RepoDigests") or () if is_image(each) and from_registry(name, (each,)))
    digests = tuple(islice(said, _MAX_DIGESTS))
    return ImageName(
        id=name,
        image_id=image["Id"],
        how=done.how,
        by=done.caller.described,
        node_id=done.node_id,
        registry=done.how in {"pull", "push"} or (done.how == "adopt" and _tells_registry(image, digests)),
        repo_digests=digests,
        os=image.get("Os", "")[:_MAX_WORD],
        architecture=image.get("Architecture", "")[:_MAX_WORD],
        size=max(0, image.get("Size", 0)),
    )


def with_name(known: ImageName, name: str, done: NameChange) -> ImageName:
    """Return the record of another name for an image of which one is known. Pure."""
    return ImageName(
        id=name,
        image_id=known.image_id,
        how=done.how,
        by=done.caller.described,
        node_id=done.node_id,
        os=known.os,
        architecture=known.architecture,
        size=known.size,
    )


def _tells_registry(image: ImageInspect, digests: tuple[str, ...]) -> bool:
    """Whether an engine says that a registry has an image by these digests.

    One with containerd's image store lists every name so, with the image's own id: that says nothing.
    """
    return bool(digests) and not any(each.endswith(f"@{image['Id']}") for each in digests)


async def load(context: Context, call: Call) -> Reply:
    """Load an archive on one node; others fetch from there what they need."""
    node_id = builder(context)

    async def loaded(progress: Progress) -> None:
        names = [name for name in progress.loaded if is_image(name) and parse_own(name) is None]
        await record(context, NameChange("load", call.caller, node_id), names)

    return forward(context, node_id, call, "/images/load", listener=ProgressListener(loaded))


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

    return forward(
        context, node_id, for_engine(context, node_id, call), "/images/create", listener=ProgressListener(done)
    )


def _import(context: Context, call: Call) -> Reply:
    node_id = builder(context)
    names = [tagged_name(call.query)] if call.query.get("repo") else []
    refuse_own(names)

    async def done(_: Progress) -> None:
        await record(context, NameChange("import", call.caller, node_id), filter(is_image, names))

    return forward(context, node_id, call, "/images/create", listener=ProgressListener(done))


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
