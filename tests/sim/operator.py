"""What operators do to a cluster, as the API does it: the same functions, in a transaction."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TypeVar

from common.clock import LoopClock
from common.errors import FailedPrecondition
from common.model import Config, Secret, Service
from common.model.service import ServiceSpec
from common.spec import autoscale
from manager.api.files import check_unused
from manager.api.services.rollouts import ACTIONS
from manager.domain.service_change import change_spec, new_service, roll_back
from manager.orchestrate.update.rotation import rotate
from manager.schedule.balance import reason_to_stay
from manager.schedule.rank import default_strategy
from manager.store.transaction import Transaction
from tests.fakes.world import replace

T = TypeVar("T")


class Operator(abc.ABC):
    """Each method is one request. It raises what the API answers; a service that is not there is none."""

    clock: LoopClock
    # When services were last told that their update is to go on.
    continued: dict[str, float]

    @abc.abstractmethod
    async def update(self, fn: Callable[[Transaction], T]) -> T:
        """Run a transaction in the store of the manager that runs now."""

    async def _to_service(self, service_id: str, fn: Callable[[Transaction, Service], Service]) -> None:
        def step(tx: Transaction) -> None:
            service = tx.services.get(service_id)
            if service is not None and not service.pending_delete:
                tx.put(fn(tx, service))

        await self.update(step)

    # --- services ---

    async def create(self, service: Service) -> None:
        await self.update(lambda tx: tx.put(new_service(tx, service.id, service.spec, self.clock.now())))

    async def change(self, service_id: str, **spec: object) -> None:
        """Change parts of a service's specification; another mode is another number of tasks."""

        def step(tx: Transaction, service: Service) -> Service:
            wanted: ServiceSpec = replace(service.spec, **spec)
            return change_spec(tx, service, wanted, self.clock.now(), scale="mode" in spec)[0]

        await self._to_service(service_id, step)

    async def roll_back(self, service_id: str, revision: int = 0) -> None:
        """Return to a revision; without one exchange the specification and the previous one."""
        await self._to_service(service_id, lambda tx, each: roll_back(tx, each, revision, self.clock.now()))

    async def roll(self, service_id: str, action: str) -> None:
        """Pause, continue or abort a service's update, if it is one that this can be done to."""

        def step(tx: Transaction, service: Service) -> Service:
            if action == "continue":  # it may have waited for a leader until now
                self.continued[service_id] = self.clock.now()
            return ACTIONS[action](tx, service, self.clock.now(), "operator")

        await self._to_service(service_id, step)

    async def scale(self, service_id: str, count: int) -> None:
        def step(tx: Transaction, service: Service) -> Service:
            return change_spec(tx, service, autoscale.with_replicas(service.spec, count), self.clock.now(), scale=True)[
                0
            ]

        await self._to_service(service_id, step)

    async def remove(self, service_id: str) -> None:
        await self._to_service(service_id, lambda _, service: replace(service, pending_delete=True))

    async def rebalance(self, *service_ids: str) -> None:
        """Ask for services to be made even; for all that may be without a name."""

        def step(tx: Transaction) -> None:
            default = default_strategy(tx)
            for service in [each for each in tx.services if not service_ids or each.id in service_ids]:
                if reason := reason_to_stay(service, default):
                    if service_ids:
                        raise FailedPrecondition(f"service {service.name} cannot be rebalanced: {reason}")
                else:
                    tx.put(replace(service, rebalancing=True))

        await self.update(step)

    # --- secrets and configs ---

    async def rotate(self, name: str, new_id: str, data: bytes) -> None:
        """Give a secret or config, whichever has the name, new content."""

        def step(tx: Transaction) -> None:
            for secret in list(tx.secrets.named(name)):
                rotate(tx, secret, new_id, replace(secret.spec, data=data, labels={}))
            for config in list(tx.configs.named(name)):
                rotate(tx, config, new_id, replace(config.spec, data=data, labels={}))

        await self.update(step)

    async def remove_file(self, name: str) -> None:
        """Remove a secret or config that no service names."""

        def step(tx: Transaction) -> None:
            found: list[Secret | Config] = [*tx.secrets.named(name), *tx.configs.named(name)]
            for each in found:
                check_unused("file", each, tx)
                tx.remove(each)

        await self.update(step)

    # --- nodes and the cluster ---

    async def change_node(self, node_id: str, **spec: object) -> None:
        def step(tx: Transaction) -> None:
            node = tx.nodes.get(node_id)
            if node is not None:
                tx.put(replace(node, spec=replace(node.spec, **spec)))

        await self.update(step)

    async def change_cluster(self, **labels: str) -> None:
        """Set labels `swarm.x.NAME` of the cluster: `rebalance`, `strategy`."""

        def step(tx: Transaction) -> None:
            cluster = tx.cluster
            own = {f"swarm.x.{name}": value for name, value in labels.items()}
            tx.put(replace(cluster, spec=replace(cluster.spec, labels=cluster.spec.labels | own)))

        await self.update(step)


def remove_if_down(node_id: str) -> Callable[[Transaction], bool]:
    """Remove a node as the API allows it: when it is down. The step returns whether it did."""

    def step(tx: Transaction) -> bool:
        node = tx.nodes.get(node_id)
        if node is None or node.status.state != "down":
            return False
        tx.remove(node)
        return True

    return step
