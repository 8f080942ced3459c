"""A cluster of one manager, in a folder, whose daemon the test runs: on a unix socket, without workers."""

import random
from contextlib import nullcontext
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.ids import new_id
from manager import app
from manager.bootstrap import create_cluster
from manager.config import DataDir, ManagerConfig


async def new_cluster(folder: Path) -> tuple[DataDir, ManagerConfig]:
    """Make a cluster; its manager's API is served on `s.sock` in the folder."""
    rng, data = random.Random(1), DataDir(folder / "manager")
    config = ManagerConfig(
        node_id=new_id(rng),
        advertise_addr="127.0.0.1:2377",
        listen_addr="127.0.0.1:2377",
        hosts=(f"unix://{folder}/s.sock",),
    )
    await create_cluster(data, config, ["10.0.0.0/8"], SystemClock(), rng)
    return data, config


def keep_to_itself(patch: pytest.MonkeyPatch) -> None:
    """Let no daemon listen for workers, or change how this process collects its garbage."""

    async def no_workers(*_: object) -> nullcontext[None]:
        return nullcontext()

    patch.setattr(app, "serve_cluster", no_workers)
    patch.setattr(app, "settle_memory", lambda: None)
