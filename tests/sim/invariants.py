"""What must hold after every commit, checked on a mirror of the store that is fed by its backend.

Every commit is checked in proportion to what it changed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from common.clock import Clock
from common.errors import Unavailable
from common.model import Node, Service, StoredObject, Task, TaskState
from common.model.service import TaskSpec
from manager.orchestrate.node_availability import NodeAvailability, availability_of
from manager.store.backend import Loaded
from manager.store.backends.memory import MemoryBackend
from manager.store.changes import Change, ChangeSet
from manager.store.observation import InvalidTransition, check, describe
from manager.store.tables import Tables
from tests.sim.availability import gaps, paced
from tests.sim.backoff import Backoff
from tests.sim.duetimes import DueTimes, beside
from tests.sim.goodbyes import Goodbyes
from tests.sim.placement import Complaint, misplaced
from tests.sim.rotations import misfiled
from tests.sim.scaling import Loads, Scaled
from tests.sim.specifications import impossible
from tests.sim.startorder import out_of_order
from tests.sim.statuses import misleading
from tests.sim.updates import Canaries, Progress, unasked
from tests.sim.volumes.moves import unmoved

OLD_TASK_PATIENCE = 60.0
# More than the largest story makes.
MOST_CHANGES = 100_000


class Broken(AssertionError):
    """An invariant does not hold."""


class Told(msgspec.Struct):
    """An object as a change left it, and when. It is put into words only where a check has failed."""

    at: float
    value: StoredObject
    is_gone: bool

    @property
    def wants_to_run(self) -> bool:
        return isinstance(self.value, Task) and self.value.desired_state is TaskState.RUNNING

    def __str__(self) -> str:
        value = self.value
        told = describe(value) if isinstance(value, Task) else f"{type(value).__name__} {value.name}"
        return f"{self.at:.3f} {told}{' is removed' if self.is_gone else ''}"


class CheckedBackend:
    """A backend in memory that checks what it is given, and remembers each task's story.

    `failing` is the part of its commits that it refuses; what is said is stored `within` seconds. `loads` are those on
    autoscaled services, `continued` says when services were told that their update is to go on.
    """

    def __init__(
        self,
        clock: Clock,
        delay: float,
        rng: random.Random,
        loads: Loads,
        continued: Mapping[str, float],
        *,
        within: float = 1.0,
    ) -> None:
        self._inner = MemoryBackend()
        self._rng = rng
        self.failing = 0.0
        self._clock = clock
        self._delay = delay
        self.mirror = Tables()
        self.history: list[Told] = []
        self.broken: list[str] = []
        self.stories: dict[str, list[Told]] = defaultdict(list)
        self._specs: dict[tuple[str, int], TaskSpec] = {}
        self._due_times = DueTimes()
        self._scaled = Scaled(loads)
        self._canaries = Canaries(continued)
        self._progress = Progress()
        self._backoff = Backoff()
        self._goodbyes = Goodbyes(within)

    async def load(self) -> Loaded:
        """Load as a manager does when it starts."""
        self.begin()
        return await self._inner.load()

    def share_of_commit(self, change_set: ChangeSet) -> float:
        return self._inner.share_of_commit(change_set)

    async def commit(self, change_sets: Sequence[ChangeSet]) -> None:
        """Store and check; whoever is killed before it returns does not know whether it was stored."""
        await asyncio.sleep(self._delay / 2)
        if self.broken:
            raise Unavailable(f"an invariant does not hold, and so nothing goes on: {self.broken[0]}")
        if self._rng.random() < self.failing:
            raise Unavailable("no space left on device")
        await self._inner.commit(change_sets)
        for change_set in change_sets:
            self.check(change_set)
        await asyncio.sleep(self._delay / 2)

    async def close(self) -> None:
        await self._inner.close()

    # --- checks ---

    def begin(self) -> None:
        """Note that a manager begins to decide."""
        self._due_times.running_since = self._scaled.running_since = self._clock.now()

    def check(self, change_set: ChangeSet) -> None:
        """Check what was just stored."""
        before = {change.current.id: change.old for change in change_set.changes}
        view, now = self.mirror, self._clock.now()
        self._say_all(out_of_order(view, change_set), gaps(view, change_set), misleading(view, change_set))
        self._say_all(self._due_times.look(view, change_set, now), self._scaled.look(change_set, now))
        for change in change_set.changes:
            self._mirror(change)
            self._one(change)
        self.mirror.index = change_set.index
        tasks = [change.current for change in change_set.changes if isinstance(change.current, Task)]
        slots = {(task.service_id, task.slot, "" if task.slot else task.node_id): None for task in tasks}
        for service_id, slot, node_id in slots:
            for tasks_there in self._places(list(self.mirror.tasks.in_slot(service_id, slot, node_id))):
                self._slot(tasks_there, before)
        for service_id in {task.service_id: None for task in tasks}:
            self._job(service_id)
        self._say_all(misplaced(view, change_set), misfiled(view, change_set), unasked(view, change_set))
        self._say_all(paced(view, change_set), beside(view, change_set), impossible(view, change_set))
        self._say_all(unmoved(view, change_set))
        for watch in (self._canaries, self._progress, self._backoff, self._goodbyes):
            self._say_all(watch.look(view, change_set, now))
        if len(self.history) > MOST_CHANGES:
            self._say("changes do not come to an end; the last ones: " + "\n".join(map(str, self.history[-20:])), [])

    def look(self) -> None:
        """Check that nothing is overdue that nobody may have decided on."""
        now, since = self._clock.now(), self._due_times.running_since
        late = self._due_times.overdue(self.mirror, now), self._progress.lacking(self.mirror, since, now)
        for problem in itertools.chain(*late, self._goodbyes.overdue(since, now)):
            self._say(problem, [])

    def _mirror(self, change: Change) -> None:
        table = self.mirror.of(type(change.current))
        if change.new is None:
            table.discard(change.current.id)
        else:
            table.put(change.new)
        current = change.current
        told = Told(self._clock.now(), current, change.new is None)
        self.history.append(told)
        if isinstance(current, Task):
            self.stories[current.id].append(told)

    def _one(self, change: Change) -> None:
        old, new = change.old, change.new
        if isinstance(old, Task) and isinstance(new, Task):
            try:
                check(old, new)
            except InvalidTransition as error:
                self._say(str(error), [new])
        elif isinstance(new, Task):
            self._created(new)
        elif isinstance(old, Task) and old.placed and old.node_id in self.mirror.nodes:
            self._say(f"the record of {old.id} went while its worker may have it", [old])

    def _created(self, new: Task) -> None:
        """A version names one specification; a new slot has the lowest free number."""
        known = self._specs.setdefault((new.service_id, new.spec_version), new.spec)
        if known != new.spec:
            self._say(f"two specifications are called version {new.spec_version}: {known} and {new.spec}", [new])
        if not new.slot:
            return
        others = [task for task in self.mirror.tasks.of_service(new.service_id) if task.id != new.id]
        if new.job_iteration is not None:
            others = [task for task in others if task.job_iteration == new.job_iteration]
            self._not_done(new, others)
        used = {task.slot for task in others if task.desired_state < TaskState.REMOVE}
        free = next(number for number in range(1, new.slot + 1) if number == new.slot or number not in used)
        if new.slot not in used and free != new.slot:
            self._say(f"slot {new.slot} is filled while {free} is free", [new])

    def _not_done(self, new: Task, others: Iterable[Task]) -> None:
        """No slot of a job's execution is begun again when the last task of it has completed.

        One before that may have, on a node that was not heard of: it was replaced by then.
        """
        there = [each for each in others if each.slot == new.slot and each.desired_state < TaskState.REMOVE]
        last = max(there, key=lambda each: each.created_at, default=None) if new.slot else None
        if last is not None and last.status.state is TaskState.COMPLETE:
            self._say(f"{new.id} does again what {last.id} has done", [new, last])

    def _places(self, tasks: list[Task]) -> Iterable[list[Task]]:
        """Divide a slot's tasks where executions of a job run beside each other: each has slots of its own."""
        service = self.mirror.services.get(tasks[0].service_id) if tasks else None
        if service is None or service.spec.labels.get("swarm.x.schedule-concurrency") != "allow":
            return [tasks]
        executions: dict[object, list[Task]] = defaultdict(list)
        for task in tasks:
            executions[task.job_iteration].append(task)
        return list(executions.values())

    def _slot(self, tasks: list[Task], before: Mapping[str, object]) -> None:
        live = [task for task in tasks if task.live]
        if len(live) > 2:
            self._say(f"{len(live)} live tasks in one slot", tasks)
        elif len(live) == 2 and any(self._came_alive(task, before) for task in live):
            newest = max(live, key=lambda task: task.created_at)
            older = next(task for task in live if task is not newest)
            if not self._may_overlap(older) and not self._may_return(older, newest):
                self._say("two live tasks in one slot, outside of drain and start-first", tasks)
        for task in live:
            if task.desired_state is TaskState.RUNNING and self._was_started(task, before):
                self._started(task, tasks)

    @staticmethod
    def _came_alive(task: Task, before: Mapping[str, object]) -> bool:
        return task.id in before and before[task.id] is None

    @staticmethod
    def _was_started(task: Task, before: Mapping[str, object]) -> bool:
        old = before.get(task.id)
        return task.id in before and (not isinstance(old, Task) or old.desired_state is not TaskState.RUNNING)

    def _may_overlap(self, older: Task) -> bool:
        """A drained task goes on until its replacement runs; so does one that moves, or that start-first replaces."""
        if self._availability(older) is NodeAvailability.DRAINED or older.moving_to:
            return True
        service = self.mirror.services.get(older.service_id)
        return service is not None and _starts_first(service)

    def _may_return(self, older: Task, newest: Task) -> bool:
        """A lost task is not given up while its replacement has no node."""
        return self._availability(older) is NodeAvailability.LOST and older.serves and not newest.node_id

    def _started(self, task: Task, tasks: Iterable[Task]) -> None:
        """A task is started only when the ones before it have stopped, had a minute for it, or cannot be heard of."""
        for other in tasks:
            stopping = other.desired_state > TaskState.RUNNING and other.placed
            waited = self._clock.now() - task.created_at >= OLD_TASK_PATIENCE
            heard_of = self._availability(other) is not NodeAvailability.LOST
            if stopping and not waited and heard_of and not self._overlapped(task, other):
                self._say(f"{task.id} is started while {other.id} of its slot still stops", [task, other])

    def _overlapped(self, task: Task, other: Task) -> bool:
        """Whether both were live together by right (drain, start-first), when one of them was told to stop."""
        return any(each.wants_to_run for each in self.stories[task.id][:-1]) or self._may_overlap(other)

    def _job(self, service_id: str) -> None:
        """No more tasks of a job's execution are wanted at once than it allows."""
        service = self.mirror.services.get(service_id)
        job = service.spec.mode.replicated_job if service is not None else None
        if service is None or job is None:
            return
        tasks = list(self.mirror.tasks.of_service(service_id))
        for places in self._places(tasks):
            live = [task for task in places if task.live]
            if len(live) > (job.max_concurrent or 0):
                self._say(f"{len(live)} tasks of job {service_id} at once, more than {job.max_concurrent}", live)

    def _availability(self, task: Task) -> NodeAvailability:
        return availability_of(self.mirror.nodes.get(task.node_id)) if task.node_id else NodeAvailability.OPEN

    def _say_all(self, *complaints: Iterable[Complaint]) -> None:
        for problem, tasks in itertools.chain(*complaints):
            self._say(problem, tasks)

    def _say(self, problem: str, tasks: Iterable[Task]) -> None:
        told = [f"{self._clock.now():.3f} {problem}"]
        for task in tasks:
            told += [f"  story of {task.id}:", *(f"    {line}" for line in self.stories[task.id])]
        self.broken.append("\n".join(told))


def _starts_first(service: Service) -> bool:
    """Whether any specification of the service, as it is or as it was, starts new tasks first."""
    specs = [service.spec, *([service.previous_spec] if service.previous_spec else [])]
    configs = [config for spec in specs for config in (spec.update_config, spec.rollback_config) if config]
    return any(config.order == "start-first" for config in configs)


class Complaints(logging.Handler):
    """Collects the exceptions that the manager logs: in a simulation nothing may go wrong that it does not expect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:  # a commit that fails is an error as well, and expected here
            self.heard.append(logging.Formatter().format(record))


def node_row(node_id: str, **spec: object) -> Node:
    """Make the record of a node that has joined."""
    from common.model.node import NodeDescription, NodeSpec, NodeStatus

    return Node(
        id=node_id,
        spec=NodeSpec(**spec),  # type: ignore[arg-type]
        description=NodeDescription(hostname=node_id),
        status=NodeStatus(state="unknown", addr="192.0.2.1"),
        agent=True,
        certificate_serials=(node_id,),
    )
