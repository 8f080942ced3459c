"""Named volumes: where their data is, and which slots of services it belongs to."""

from __future__ import annotations

from random import Random

from common.model.naming import Model, Object

_LINEAGE_BITS = 128


class TaskVolume(Model):
    """The data that a task is to find in one of its named volumes: its lineage and generation (`Volume`)."""

    name: str = ""
    data_id: str = ""
    generation: int = 0


class Volume(Object):
    """One copy of a named volume, on one node. `id` is `NODE_ID/NAME` (`volume_id`).

    `data_id` is its lineage, 32 hexadecimal digits that the worker which saw the data first has chosen: equal lineages
    are copies of one thing, of which the highest `generation` (from 1) is the newest. `role`: empty, or `left` for a
    copy that its slot has left behind, which nothing chooses again, or `retired` for one that was moved away.
    `driver`, `options` and `labels` are the engine's. `shared`: every node reaches the same data. `size` is in bytes,
    -1 while it was not measured. `missing_since` (Unix seconds): the host had it, and from then on did not, nor did the
    cluster remove it; 0: it is there.
    """

    name: str = ""
    node_id: str = ""
    data_id: str = ""
    generation: int = 0
    role: str = ""
    driver: str = "local"
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    shared: bool = False
    size: int = -1
    missing_since: float = 0.0

    @property
    def eligible(self) -> bool:
        """Whether a slot without data may take this copy."""
        return not self.role and not self.missing_since and not self.partial

    @property
    def partial(self) -> bool:
        """Whether what brings the data to there has not come to its end."""
        return bool(self.data_id) and not self.generation


class VolumeClaim(Object):
    """That a slot's data in a named volume is on a node. `id` is `SERVICE/SLOT/VOLUME` (`claim_id`).

    `service` is the service's name, so that a stack which is removed and deployed again finds its data. The claim
    counts for good once it is `bound`: the engine had the volume. Until then it counts while `task_id` may get there.
    """

    service: str = ""
    slot: int = 0
    volume: str = ""
    node_id: str = ""
    task_id: str = ""
    bound: bool = False

    @property
    def name(self) -> str:
        return self.volume

    @property
    def holder(self) -> str:
        """The slot, as people call it."""
        return f"{self.service}.{self.slot}"


def new_lineage(rng: Random) -> str:
    """Make up the lineage of data that was not there before."""
    return f"{rng.getrandbits(_LINEAGE_BITS):032x}"


def volume_id(node_id: str, name: str) -> str:
    """Return the id of the record of a node's volume."""
    return f"{node_id}/{name}"


def claim_id(service: str, slot: int, volume: str) -> str:
    """Return the id of a slot's claim to a volume."""
    return f"{service}/{slot}/{volume}"


class Transfer(Object):
    """A move of volumes that belong together from one node to another, or a copy of one. `volumes` are their names.

    `operation`: `move`, or `copy`, which makes of the volume another on any node, `as_name` with the lineage `data_id`.
    `hold` says what becomes of the tasks for a copy's last pass: `pause`, `stop`, or `live` for nothing.

    `phase`: `copying` while their tasks run; `last` while the tasks are stopped for the last pass; `done` once claims
    name the target, which is the commit: before it only the source counts, after it only the target. `failed` says why
    in `error`, and the tasks run at the source. `max_downtime` (seconds): rather give up than be without service for
    longer, as estimated; 0 is no bound. `downtime` is how long the tasks were stopped for it, or paused.
    `limit`: bytes a second, 0: the cluster's. `delete_source`: a move's source is removed once the target was read
    back. `note`: what is to be said of one that is done. `task`: a copy is the snapshot that this task mounts.
    """

    volumes: tuple[str, ...] = ()
    source: str = ""
    target: str = ""
    phase: str = "copying"
    error: str = ""
    max_downtime: float = 0.0
    stopped_at: float = 0.0
    downtime: float = 0.0
    operation: str = "move"
    as_name: str = ""
    data_id: str = ""
    hold: str = ""
    limit: float = 0.0
    delete_source: bool = False
    note: str = ""
    task: str = ""

    @property
    def participle(self) -> str:
        """What becomes of the volumes, in a word."""
        return "moved" if self.operation == "move" else "copied"

    @property
    def arriving(self) -> tuple[str, ...]:
        """What the volumes are called at the target."""
        return (self.as_name,) if self.as_name else self.volumes

    @property
    def stops_tasks(self) -> bool:
        """Whether tasks stand still for the last pass."""
        return self.operation == "move" or self.hold == "stop"

    @property
    def name(self) -> str:
        return self.volumes[0] if self.volumes else self.id

    @property
    def active(self) -> bool:
        return self.phase in ("copying", "last")
