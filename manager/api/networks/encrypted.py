"""Encrypted networks: whether the cluster can have one, and new keys on request (a path that the engine has not)."""

from __future__ import annotations

from common.errors import FailedPrecondition
from common.model.client import Role
from common.model.network import NetworkSpec
from manager.allocate.tunnel_keys import rotate
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import Unimplemented
from manager.api.router import Route
from manager.store.transaction import Transaction
from manager.store.view import View

_REMEDY = (
    "install Debian's wireguard-tools and, where the kernel has no WireGuard, wireguard-go there, then restart the "
    "worker; 'node inspect' shows what a node has (Description.Encryption, Description.Lacks)"
)


def check_option(spec: NetworkSpec) -> None:
    """Check what the option `encrypted` cannot be together with. Its value means nothing, as in Docker.

    Raises:
        Unimplemented: the network would be less private than its user believes.

    """
    if spec.encrypted and spec.ingress:
        raise Unimplemented("the routing mesh is not encrypted between hosts: leave out --ingress or encrypted")


def warning(view: View) -> str:
    """Name the nodes that no task of an encrypted network will run on; empty when there is none.

    Raises:
        FailedPrecondition: that is all of them.

    """
    nodes = [node for node in view.nodes if node.agent]
    unable = [node.name or node.id for node in nodes if not node.description.encryption]
    if len(unable) == len(nodes):
        raise FailedPrecondition(f"no node of the cluster supports encrypted networks: {_REMEDY}")
    if not unable:
        return ""
    return f"tasks of this network do not run on {', '.join(sorted(unable))}, which cannot encrypt: {_REMEDY}"


async def rotate_keys(context: Context, _call: Call) -> Reply:
    """Have new keys made for all encrypted networks, now."""

    def step(tx: Transaction) -> int:
        cluster = rotate(tx, context.clock.now())
        tx.put(cluster)
        return cluster.tunnel_generation

    return Answer(value={"Generation": await context.store.update(step)})


ROUTES = (Route("POST", "/networks/rotate-keys", rotate_keys, needs=Role.OPERATOR),)
