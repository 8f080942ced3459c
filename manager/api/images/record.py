"""Writing down what clients make names of images mean, when an engine has done what they asked for.

What a name means then is read from the very engine on which the client's call has run, and from no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from common.model import ImageName
from common.text.image_names import from_registry, full_name
from manager.api.access.roles import Caller
from manager.api.context import Context
from manager.api.engine.types import ImageInspect
from manager.api.images.own import image_on
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
    """Remove those of these names for which `given` still holds: clients may have given them anew meanwhile."""

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
