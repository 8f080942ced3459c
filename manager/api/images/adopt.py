"""POST /nodes/{id}/images/adopt: names that one node's engine alone has become the cluster's. Not Docker's."""

from __future__ import annotations

from typing import Any

from common.errors import FailedPrecondition
from common.model import ImageName, Node
from common.model.client import Role
from common.model.naming import Model
from common.text.image_names import full_name
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.engine.presence import is_ready
from manager.api.errors import EngineError, invalid
from manager.api.images.find import describe
from manager.api.images.on_node import image_on, images_on
from manager.api.images.own import NO_NAMES, refuse_own
from manager.api.images.record import NameChange, name_for
from manager.api.lookup import find_node
from manager.api.router import Route
from manager.api.services.container_validation import is_image
from manager.store.transaction import Transaction

LIST_SECONDS = 10.0


class Adoption(Model):
    """What to adopt: an image by its `name` on the node, under `new_name` (the same without), or with `all` every one.

    With `force`, a name that means another image in the cluster means this one from then on.
    """

    name: str = ""
    new_name: str = ""
    all: bool = False
    force: bool = False


async def adopt(context: Context, call: Call) -> Reply:
    """Make names of one node's engine the cluster's; answer with the names and ids, and with those that are taken.

    Raises:
        NotFound: there is no such node.
        FailedPrecondition: it is not ready, or drained.
        EngineError: 404, the node has no image by the name; 409, the name means another image in the cluster.

    """
    wanted = call.decode(Adoption)
    node = find_node(context.store.view, call.params["id"])
    _check(context, node)
    if wanted.all == bool(wanted.name) or (wanted.all and wanted.new_name):
        raise invalid("name one image, or all of a node; a new name is possible for one image only")
    names = await _all_names(context, node) if wanted.all else {wanted.new_name or wanted.name: wanted.name}
    records = [await _record(context, call, node, name, there) for name, there in names.items()]

    def write(tx: Transaction) -> list[ImageName]:
        taken = []
        for record in records:
            present = tx.image_names.get(record.id)
            if present is None or (wanted.force and present.image_id != record.image_id):
                tx.put(record)
            elif present.image_id != record.image_id:
                taken.append(present)
        return taken

    taken = {name.id: f"it is {describe(name)}" for name in await context.store.update(write)}
    if taken and not wanted.all:
        (record,) = records
        raise EngineError(
            409,
            f"conflict: {record.id} is taken: {taken[record.id]}; on node {node.name} it is {record.image_id}: "
            "give it another name, or use force",
        )
    refused = [{**_view(record), "Message": taken[record.id]} for record in records if record.id in taken]
    adopted = [_view(record) for record in records if record.id not in taken]
    return Answer(value={"Adopted": adopted, "Refused": refused or None})


def _check(context: Context, node: Node) -> None:
    if not is_ready(node):
        state = node.status.state if node.agent else "without a worker"
        raise FailedPrecondition(f"node {node.name} is {state}: only a node that is ready can list its images")
    if node.spec.availability == "drain" and node.id != context.identity.node_id:
        raise FailedPrecondition(f"node {node.name} is drained: its images can be adopted when it is active again")


async def _all_names(context: Context, node: Node) -> dict[str, str]:
    """Return all names that a node's engine has, each mapped to itself."""
    images = await images_on(context, node.id, seconds=LIST_SECONDS)
    tags = sorted({tag for image in images for tag in image.get("RepoTags") or ()} - NO_NAMES)
    return {tag: tag for tag in tags if is_image(tag)}


async def _record(context: Context, call: Call, node: Node, name: str, there: str) -> ImageName:
    for each in (name, there):
        if not is_image(each) or "@" in each:
            raise invalid(f"invalid reference format: {each[:200]!r} is not an image name")
    refuse_own([name])
    image = await image_on(context, node.id, there)
    if image is None:
        raise EngineError(404, f"No such image: {there} on node {node.name}")
    return name_for(full_name(name), image, NameChange("adopt", call.caller, node.id))


def _view(name: ImageName) -> dict[str, Any]:
    return {"Name": name.id, "ID": name.image_id, "Registry": name.registry}


ROUTES = (Route("POST", "/nodes/{id}/images/adopt", adopt, needs=Role.OPERATOR),)
