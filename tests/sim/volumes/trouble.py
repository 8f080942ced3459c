"""What operators and misfortune do to services with volumes in one seed: most of it while volumes are moved."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from common.errors import SwarmError
from common.ids import new_id
from common.model import Service, Transfer, VolumeClaim
from common.model.volume import new_lineage
from manager.domain.transfers import check, moved_together
from manager.store.transaction import Transaction
from tests.sim.cluster import Cluster
from tests.sim.host import BAD_IMAGE, Host

# What a move may take until it has come to the phase in which it is struck.
_PHASE_SECONDS = 20.0
_LOOK_SECONDS = 0.05


class Trouble:
    """One seed's operators and misfortunes. `struck` counts what was done to moves, by the phase that they were in."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.log: list[str] = []
        self.struck: Counter[tuple[str, str]] = Counter()

    async def happen(self) -> None:
        often = [self._power, self._availability, self._scale]
        seldom = [
            self._cut,
            self._update,
            self._bad_update,
            self._recreate,
            self._restart_manager,
            self._remove_by_hand,
        ]
        moves = [self._move, self._move, self._move_off]
        copies = [self._snapshot, self._snapshot, self._back_up]
        await self._do(self.rng.choice([*often, *often, *seldom, *moves, *moves, *moves, *moves, *copies, *copies]))

    async def _do(self, step: Callable[[], Awaitable[None]]) -> None:
        self.log.append(f"{self.cluster.clock.now():.2f} {step.__name__.strip('_')}")
        try:
            await step()
        except SwarmError as error:
            self.log.append(f"  {error.message}")

    async def calm_down(self) -> None:
        """End all misfortune; what was removed by hand is given up."""
        cluster = self.cluster
        cluster.habits.rejected = cluster.habits.failing = 0.0
        for host in cluster.hosts.values():
            host.copies.faults = 0.0
            host.cut_off(False)
            if not host.powered:
                host.power_on()
            await cluster.change_node(host.node_id, availability="active")
        for each in self._services():
            template = each.spec.task_template
            assert template.container_spec is not None
            good = replace(template, container_spec=replace(template.container_spec, image="v9"))
            await cluster.change(each.id, task_template=good)

    def _services(self) -> list[Service]:
        return [each for each in self.cluster.view.services if not each.pending_delete]

    def _any_host(self) -> Host:
        return self.rng.choice(list(self.cluster.hosts.values()))

    # --- operators ---

    async def _availability(self) -> None:
        await self.cluster.change_node(
            self._any_host().node_id, availability=self.rng.choice(["active", "drain", "pause"])
        )

    async def _update(self, image: str = "") -> None:
        each = self.rng.choice(self._services())
        template = each.spec.task_template
        assert template.container_spec is not None
        container = replace(template.container_spec, image=image or f"v{self.rng.randint(1, 5)}")
        await self.cluster.change(each.id, task_template=replace(template, container_spec=container))

    async def _bad_update(self) -> None:
        await self._update(BAD_IMAGE)

    async def _scale(self) -> None:
        each = self.rng.choice(self._services())
        if each.spec.mode.replicated is not None and "one" not in str(each.spec.task_template):
            await self.cluster.scale(each.id, self.rng.randint(0, 3))

    async def _recreate(self) -> None:
        """Remove a service, and deploy it again once it is gone; its next tasks are to find its data."""
        each = self.rng.choice(self._services())
        await self.cluster.remove(each.id)
        while any(each.id == other.id for other in self.cluster.view.services):
            await asyncio.sleep(1.0)
            self.cluster.check()
        again = replace(each, id=f"{each.name}-{self.rng.getrandbits(32):08x}")
        await self.cluster.create(replace(again, pending_delete=False))

    async def _remove_by_hand(self) -> None:
        """Remove a volume on its host, which no container uses there, and nobody restores."""
        host = self._any_host()
        used = {task.service_name for task in host.containers.values()}
        if host.disk.volumes and not used and self.rng.random() < 0.2:
            name = self.rng.choice(sorted(host.disk.volumes))
            del host.disk.volumes[name]
            self.log.append(f"  {name} on {host.node_id}")

    # --- misfortune ---

    async def _power(self) -> None:
        await self._toggle(self._any_host())

    async def _toggle(self, host: Host) -> None:
        if host.powered:
            await host.power_off()
        else:
            host.power_on()

    async def _cut(self) -> None:
        host = self._any_host()
        host.cut_off(not host.cut)

    async def _restart_manager(self) -> None:
        await self.cluster.stop_manager()
        await asyncio.sleep(self.rng.uniform(0.0, 3.0))
        await self.cluster.start_manager()

    # --- moves, and what comes in between ---

    async def _move(self) -> None:
        """Move a volume that a slot has, to some other host, and strike in some phase of it."""
        claims = list(self.cluster.view.volume_claims)
        if not claims:
            return
        claim = self.rng.choice(claims)
        free = [host.node_id for host in self.cluster.hosts.values() if claim.volume not in host.disk.volumes]
        target, transfer_id = self.rng.choice(free or [self._any_host().node_id]), new_id(self.rng)
        bound = self.rng.choice([0.0, 0.0, 0.0, 2.0])
        await self.cluster.update(lambda tx: self._begin(tx, transfer_id, claim, target, max_downtime=bound))
        self.log.append(f"  {claim.volume} from {claim.node_id} to {target}")
        await self._strike(transfer_id)

    def _begin(
        self, tx: Transaction, transfer_id: str, claim: VolumeClaim, target: str, *, max_downtime: float = 0.0
    ) -> None:
        """Begin a move as the API does."""
        names = moved_together(claim.node_id, claim.volume, tx)
        move = Transfer(id=transfer_id, volumes=names, source=claim.node_id, target=target, max_downtime=max_downtime)
        check(move, tx)
        tx.put(move)

    async def _snapshot(self) -> None:
        """Copy a volume that a slot has, for which its tasks stop, on its node or to another."""
        claims = list(self.cluster.view.volume_claims)
        if not claims:
            return
        claim = self.rng.choice(claims)
        target, copy_id = self.rng.choice([claim.node_id, self._any_host().node_id]), new_id(self.rng)
        copy = Transfer(
            id=copy_id,
            operation="copy",
            volumes=(claim.volume,),
            source=claim.node_id,
            target=target,
            as_name=f"copy-{copy_id}",
            data_id=new_lineage(self.rng),
            hold="stop",
        )

        def step(tx: Transaction) -> None:
            check(copy, tx)
            tx.put(copy)

        await self.cluster.update(step)
        self.log.append(f"  {claim.volume} of {claim.node_id} to {target}")
        await self._strike(copy_id)

    async def _back_up(self) -> None:
        """Run the job again that mounts a snapshot, and strike while that is made."""
        for each in self._services():
            if each.spec.mode.replicated_job is None:
                continue
            template = each.spec.task_template
            await self.cluster.change(each.id, task_template=replace(template, force_update=template.force_update + 1))
            if made := await self._snapshot_of_task(each):
                await self._strike(made.id)

    async def _snapshot_of_task(self, job: Service) -> Transfer | None:
        """Wait until a snapshot is made for a task of a job."""
        end = self.cluster.clock.now() + _PHASE_SECONDS
        while self.cluster.clock.now() < end:
            tasks = {task.id for task in self.cluster.view.tasks.of_service(job.id)}
            for each in self.cluster.view.transfers:
                if each.active and each.task in tasks:
                    return each
            await asyncio.sleep(_LOOK_SECONDS)
            self.cluster.check()
        return None

    async def _move_off(self) -> None:
        """Move all that slots have on a node, drain it, and strike one of the moves."""
        host = self._any_host()
        for claim in list(self.cluster.view.volume_claims.on_node(host.node_id)):
            begin = partial(self._begin, transfer_id=new_id(self.rng), claim=claim, target=self._any_host().node_id)
            with contextlib.suppress(SwarmError):  # it goes with another, or has nowhere to go
                await self.cluster.update(begin)
        moves = [each for each in self.cluster.view.transfers if each.active and each.source == host.node_id]
        if moves:
            await self._strike(self.rng.choice(moves).id)
        await self.cluster.change_node(host.node_id, availability="drain")

    async def _strike(self, transfer_id: str) -> None:
        """Do something to a move once it is in a phase, or let it be."""
        wanted = self.rng.choice(["copying", "last", ""])
        if not wanted or not await self._is_in(transfer_id, wanted):
            return
        await asyncio.sleep(self.rng.uniform(0.0, 3.0))
        move = self.cluster.view.transfers.get(transfer_id)
        if move is None:
            return
        end = self.rng.choice([move.source, move.target])
        host = self.cluster.hosts[end]
        strikes: list[Callable[[Transfer, Host], Awaitable[None]]] = [
            self._lose_power,
            self._lose_network,
            self._lose_connection,
            self._manager_goes,
            self._ask_to_end,
            self._host_is_drained,
            self._others_come,
        ]
        strike = self.rng.choice(strikes)
        self.struck[move.phase, strike.__name__.strip("_")] += 1
        self.log.append(f"  {self.cluster.clock.now():.2f} {strike.__name__.strip('_')} {end}, it is {move.phase}")
        await strike(move, host)

    async def _is_in(self, transfer_id: str, phase: str) -> bool:
        end = self.cluster.clock.now() + _PHASE_SECONDS
        while self.cluster.clock.now() < end:
            move = self.cluster.view.transfers.get(transfer_id)
            if move is None or not move.active:
                return False
            if move.phase == phase:
                return True
            await asyncio.sleep(_LOOK_SECONDS)
            self.cluster.check()
        return False

    async def _lose_power(self, _: Transfer, host: Host) -> None:
        if host.powered:
            await host.power_off()
            await asyncio.sleep(self.rng.choice([0.5, 5.0, 15.0]))
            host.power_on()

    async def _lose_network(self, _: Transfer, host: Host) -> None:
        host.cut_off(True)
        await asyncio.sleep(self.rng.choice([0.5, 5.0, 15.0]))
        host.cut_off(False)

    async def _lose_connection(self, _: Transfer, host: Host) -> None:
        host.lose_connection()

    async def _manager_goes(self, _move: Transfer, _host: Host) -> None:
        await self._restart_manager()

    async def _ask_to_end(self, move: Transfer, _: Host) -> None:
        def step(tx: Transaction) -> None:
            found = tx.transfers.get(move.id)
            if found is not None and found.active:
                tx.put(replace(found, phase="failed", error="cancelled"))

        await self.cluster.update(step)

    async def _host_is_drained(self, _: Transfer, host: Host) -> None:
        await self.cluster.change_node(host.node_id, availability="drain")

    async def _others_come(self, _move: Transfer, _host: Host) -> None:
        """Let there be slots that have no data yet, of services that have what is moved."""
        for each in self._services():
            if each.spec.mode.replicated is not None and "one" not in str(each.spec.task_template):
                await self.cluster.scale(each.id, 3)
