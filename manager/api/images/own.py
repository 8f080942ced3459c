"""Names that only one node's engine knows an image by, as no client of the cluster has given them.

Such a name is shown, and may be asked for, below a domain that stands for its node: `HOSTNAME.node/NAME`. No
registry is ever asked for a name in that domain, and no client can give one. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from common.model import Node
from common.text.image_names import with_tag
from manager.api.engine.types import Image
from manager.api.errors import EngineError, invalid
from manager.api.services.container_validation import is_image
from manager.store.view import View

DOMAIN = ".node"
# What engines up to API 1.42 say in place of no name and no digest.
NO_NAMES = frozenset({"<none>:<none>", "<none>@<none>"})
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_NOT_IN_PATHS = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class OwnName:
    """The domain of one node, and the name below it, not as its engine has it, but as a path of a reference."""

    domain: str
    path: str


def parse_own(reference: str) -> OwnName | None:
    """Read a reference as one node's own name; None when it is not of that form."""
    domain, slash, path = reference.partition("/")
    return OwnName(domain, path) if slash and domain.lower().endswith(DOMAIN) and path else None


def refuse_own(names: Iterable[str]) -> None:
    """Refuse names that clients cannot give, as they are for what nodes have by themselves.

    Raises:
        EngineError: 400, names one of them.

    """
    for name in names:
        if parse_own(name) is not None:
            raise invalid(f"invalid name {name[:200]!r}: names in a domain of '{DOMAIN}' are those of single nodes")


def domains(nodes: Iterable[Node]) -> dict[str, str]:
    """Return each node's domain by its id: its host name's where no other node has the same, else its id's. Pure."""
    nodes = list(nodes)
    taken = Counter(node.name.lower() for node in nodes)
    return {
        node.id: (node.name if taken[node.name.lower()] == 1 and _LABEL.fullmatch(node.name) else node.id) + DOMAIN
        for node in nodes
    }


def node_of(view: View, own: OwnName) -> Node:
    """Return the node whose own name this is.

    Raises:
        EngineError: 404, no node has this domain.

    """
    by_domain = {domain.lower(): node_id for node_id, domain in domains(view.nodes).items()}
    by_domain |= {f"{node.id}{DOMAIN}".lower(): node.id for node in view.nodes}
    node = view.nodes.get(by_domain.get(own.domain.lower(), ""))
    if node is None:
        raise EngineError(404, f"No such image: {own.domain}/{own.path}: no node is {own.domain}")
    return node


def own_name(domain: str, name: str) -> str:
    """Return the shown form of an engine's own name; empty if that is not a valid reference. Pure."""
    own = f"{domain}/{_as_path(name)}"
    return own if is_image(own) else ""


def _as_path(name: str) -> str:
    """Make a path of a name: its registry's may have a port, brackets and capitals, which a path cannot have."""
    host, slash, rest = name.partition("/")
    return f"{_NOT_IN_PATHS.sub('__', host.lower()).strip('_')}/{rest}" if slash else name


def engine_name(own: OwnName, images: Iterable[Image]) -> tuple[str, str]:
    """Find an own name among the images that the node's engine lists; return the engine's name and the image's id.

    Raises:
        EngineError: 404, it is not among them.

    """
    wanted = with_tag(own.path)
    for image in images:
        for name in image.get("RepoTags") or ():
            if name not in NO_NAMES and _as_path(name) == wanted:
                return name, image["Id"]
    raise EngineError(404, f"No such image: {own.domain}/{own.path}: the engine there has none by that name")
