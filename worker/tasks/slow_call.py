"""What a task says of something that its engine was told to do and has not done when it should have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.model.container import Mount
from common.model.task import Task

# Something that the engine does with a container is late after so long. That is said then, and each time that it has
# taken twice as long.
LATE_SECONDS = 15.0
_NAMED = 3


@contextmanager
def tell_when_slow(tell: Callable[[float], None], after: float = LATE_SECONDS) -> Iterator[None]:
    """Call `tell` with the seconds that the block has taken, when these are `after`, twice as many, and so on."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(after, lambda: late(after))

    def late(taken: float) -> None:
        nonlocal timer
        tell(taken)
        timer = loop.call_later(taken, late, 2 * taken)

    try:
        yield
    finally:
        timer.cancel()


def not_done(doing: str, taken: float, task: Task) -> str:
    """Say that the engine is still `doing` something with a task's container, and where to look."""
    return f"the engine has been {doing} the container for {taken:.0f} s{hint(task)}"


def hint(task: Task) -> str:
    """Say where to look for what holds an engine up: it waits for what the container mounts more than for all else."""
    spec = task.spec.container_spec
    names = [_mount_name(mount) for mount in spec.mounts if mount.type != "tmpfs"] if spec is not None else []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    mounts = f" and {', '.join(names[:_NAMED])}{more}, which it mounts" if names else ""
    return f": look at `journalctl -u docker -u containerd` on the node{mounts}"


def _mount_name(mount: Mount) -> str:
    driver = mount.volume_options.driver_config if mount.volume_options is not None else None
    if mount.type != "volume":
        return mount.source
    what = f"volume {mount.source}".rstrip()
    if driver is None:
        return what
    share = driver.options.get("type", "")
    device = driver.options.get("device", "")
    told = ", ".join(filter(None, (driver.name and f"driver {driver.name}", share and f"{share} {device}".rstrip())))
    return f"{what} ({told})" if told else what
