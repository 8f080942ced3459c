"""Whether the routing mesh has a way to a task, as far as its service needs one. Pure.

A container gets its address in the host's gateway network when it is made: if one of its networks leads outside, or if
it publishes a port (worker/net/dataplane.py). It can be given none later, so that a service's first port may need its
tasks made anew.
"""

from __future__ import annotations

from common.model import Service, Task
from common.net.engine_networks import PREDEFINED_NETWORKS
from manager.domain.revisions import is_reachable_from_outside
from manager.store.view import View


def has_right_attachment(task: Task, service: Service, view: View) -> bool:
    """Whether a task is in the gateway network if its service's ports want that, and is not if it is to be shut in.

    Whether a placed task published a port when it was made is in its `ports`.
    """
    was_reachable, is_reachable = is_reachable_from_outside(task.ports), is_reachable_from_outside(service.spec.ports)
    if was_reachable == is_reachable:
        return True
    targets = [each.target for each in service.spec.attachments]
    if not targets:
        return was_reachable  # its last port went: nobody minds its way out
    networks = [view.networks.get(target) for target in targets if target not in PREDEFINED_NETWORKS]
    return any(network is not None and not network.spec.internal for network in networks) or not networks
