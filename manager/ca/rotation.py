"""Replacing the authority's root without losing a member: who trusts both roots first gets certificates of the other.

Three steps, each begun when every member has a certificate of the step before: all trust both roots; workers have
certificates of the next one; the next one is the only one. Managers prove themselves with the present root until the
last, so that whoever joins with a token of before can. Where managers share a store in etcd there is a step more before
it: the next root is the present one already, and the one before is believed until all managers' certificates are of it.
They take each step one after the other, the leader last, as etcd reads which roots it believes only when it starts.
Members that are away are waited for. Pure.
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
from manager.domain.managers import managers
from manager.store.changes import Decision
from manager.store.levels import ROOT_OF_MANAGERS
from manager.store.view import View

# The revoker in the records of clients' certificates whose root was replaced.
REVOKER = "the root's rotation"
_ALONE = "every certificate is of the new root: the old one is not believed any more"


def root_of(view: View) -> RootKey | None:
    return next(iter(view.root_keys), None)


def step_of(view: View) -> int:
    """Return the step of the authority now."""
    root = root_of(view)
    return root.step if root is not None else 0


def begin(view: View, fresh: RootKey) -> RootKey:
    """Return the root's record with which its replacement by `fresh` begins.

    Raises:
        FailedPrecondition: it is being replaced already, or a manager may be of a release that cannot.

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
    if _in_etcd(view) and view.cluster.store_level < ROOT_OF_MANAGERS:
        raise FailedPrecondition(
            "the root cannot be rotated before every manager runs this release and has been reached: see 'node ls'"
        )
    return msgspec.structs.replace(
        root,
        next_certificate=fresh.certificate,
        next_key=fresh.key,
        phase=RotationPhase.TRUST,
        step=root.step + 1,
    )


def turn(view: View, leader_id: str) -> str:
    """Return which manager is to take the present step next, by its node's id; empty: all have."""
    step = step_of(view)
    late = (node for node in managers(view) if node.manager_status and node.manager_status.certificate_step < step)
    return min(late, key=lambda node: (node.id == leader_id, node.id), default=Node(id="")).id


def _in_etcd(view: View) -> bool:
    """Whether there are several managers, or can be."""
    return any(node.etcd_addr for node in managers(view))


def managed_step(view: View) -> int:
    """Return the step that all managers have taken: workers are to take no other before them."""
    statuses = (node.manager_status for node in view.nodes)
    return min((step_of(view), *(each.certificate_step for each in statuses if each is not None)))


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
    if root.phase is RotationPhase.RETIRE:
        alone = msgspec.structs.replace(root, previous_certificate=b"", phase=RotationPhase.NONE, step=root.step + 1)
        return Decision(put=(alone,), reasons=(_ALONE,))
    retires = _in_etcd(view)
    replaced = msgspec.structs.replace(
        root,
        certificate=root.next_certificate,
        key=root.next_key,
        next_certificate=b"",
        next_key=b"",
        previous_certificate=root.certificate if retires else b"",
        phase=RotationPhase.RETIRE if retires else RotationPhase.NONE,
        step=root.step + 1,
    )
    cluster = msgspec.structs.replace(
        view.cluster,
        root_certificate=replaced.certificate.decode(),
        join_tokens=new_tokens(root_digest(replaced.certificate), rng),
    )
    ended = (
        msgspec.structs.replace(each, revoked_at=now, revoked_by=REVOKER)
        for each in view.client_certificates
        if not each.revoked_at and each.created_at < root.updated_at
    )
    reason = "the new root is in use: managers' certificates are made anew" if retires else _ALONE
    return Decision(put=(replaced, cluster, *ended), reasons=(reason,))


def trusts_newest(root: RootKey, step: int) -> bool:
    """Whether a member whose certificate is of `step` believes the root that is, or will be, the only one."""
    return step >= root.trusting_step


def has_newest(root: RootKey, step: int) -> bool:
    """Whether a certificate of `step` is of that root."""
    return step >= root.issuing_step
