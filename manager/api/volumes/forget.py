"""What the store forgets of a volume that was removed through the API."""

from __future__ import annotations

from common.model.volume import volume_id
from manager.api.context import Context
from manager.domain.volume_claims import in_use
from manager.store.transaction import Transaction


async def forget(context: Context, node_id: str, name: str) -> None:
    """Drop the record of a copy that is gone by an operator's word, and what services that are gone remember of it."""

    def step(tx: Transaction) -> None:
        copy = tx.volumes.get(volume_id(node_id, name))
        if copy is not None:
            tx.remove(copy)
        for claim in list(tx.volume_claims.named(name)):
            if claim.node_id == node_id and not in_use(claim, tx):
                tx.remove(claim)

    await context.store.update(step)
