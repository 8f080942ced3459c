"""Replacing the authority's root without losing a member: who trusts both roots first gets certificates of the other.

Three steps, each begun when every member has a certificate of the step before: all trust both roots; workers have
certificates of the next one; the next one is the only one. Managers prove themselves with the present root until the
last, so that whoever joins with a token of before can. Members that are away are waited for. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from common.errors import FailedPrecondition
from common.model import Node, RootKey
from common.model.authority import RotationPhase
from common.tls import root_digest
from manager.ca.tokens import new_tokens
from manager.store.changes import Decision
from manager.store.view import View

# Who revokes clients' certificates of a root that is no more, as their records have it.
REVOKER = "the root's rotation"


def root_of(view: View) -> RootKey | None:
    return next(iter(view.root_keys), None)


def step_of(view: View) -> int:
    """Return the step of the authority now."""
    root = root_of(view)
    return root.step if root is not None else 0


def begin(view: View, fresh: RootKey) -> RootKey:
    """Return the root's record with which its replacement by `fresh` begins.

    Raises:
        FailedPrecondition: it is being replaced already, or there are several managers.

    """
    root = root_of(view)
    if root is None:
        raise FailedPrecondition("this cluster's authority is not in its store: restart the manager, then try again")
    if root.phase is not RotationPhase.NONE:
        names = ", ".join(node.name for node in awaited(view))
        raise FailedPrecondition(
            f"the root is being rotated already; waiting for certificates of: {names}. A node that will not come back "
            "is removed with 'docker node rm --force'"
        )
    if any(node.etcd_addr for node in view.nodes) or sum(node.manager_status is not None for node in view.nodes) > 1:
        raise FailedPrecondition("rotating the root is not supported yet where the store is in etcd")
    return msgspec.structs.replace(
        root,
        next_certificate=fresh.certificate,
        next_key=fresh.key,
        phase=RotationPhase.TRUST,
        step=root.step + 1,
    )


def managed_step(view: View) -> int:
    """Return the step that all managers have taken: workers are to take no other before them."""
    managers = [node.manager_status for node in view.nodes if node.manager_status is not None]
    return min((step_of(view), *(status.certificate_step for status in managers)))


def awaited(view: View) -> Iterator[Node]:
    """Yield the members that have not taken the present step."""
    step = step_of(view)
    return (node for node in view.nodes if taken_step(node, step) < step)


def taken_step(node: Node, present: int) -> int:
    """Return the step of a node's certificates: its manager's, its worker's; `present` where it has neither."""
    steps = [] if node.manager_status is None else [node.manager_status.certificate_step]
    return min((*steps, *(() if node.left else (node.certificate_step,))), default=present)


def decide(view: View, now: float, rng: random.Random) -> Decision:
    """Begin the next step when every member has taken the present one.

    With the last one join tokens are new, which `rng` makes, as they name the root; clients' certificates of the old
    root are revoked.
    """
    root = root_of(view)
    if root is None or root.phase is RotationPhase.NONE or any(True for _ in awaited(view)):
        return Decision()
    if root.phase is RotationPhase.TRUST:
        issuing = msgspec.structs.replace(root, phase=RotationPhase.ISSUE, step=root.step + 1)
        return Decision(put=(issuing,), reasons=("every member trusts both roots: certificates are of the next now",))
    alone = msgspec.structs.replace(
        root,
        certificate=root.next_certificate,
        key=root.next_key,
        next_certificate=b"",
        next_key=b"",
        phase=RotationPhase.NONE,
        step=root.step + 1,
    )
    cluster = msgspec.structs.replace(
        view.cluster,
        root_certificate=alone.certificate.decode(),
        join_tokens=new_tokens(root_digest(alone.certificate), rng),
    )
    ended = (
        msgspec.structs.replace(each, revoked_at=now, revoked_by=REVOKER)
        for each in view.client_certificates
        if not each.revoked_at and each.created_at < root.updated_at
    )
    reason = "every certificate is of the new root: the old one is not believed any more"
    return Decision(put=(alone, cluster, *ended), reasons=(reason,))


def trusts_newest(root: RootKey, step: int) -> bool:
    """Whether a member whose certificate is of `step` believes the root that is, or will be, the only one."""
    return step >= root.trusting_step


def has_newest(root: RootKey, step: int) -> bool:
    """Whether a certificate of `step` is of that root."""
    return step >= root.issuing_step
