"""The daemon as a whole: what is left of its data directory in the end. That it serves is the subject of tests/e2e."""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common.tls import CredentialFiles
from manager import app
from manager.api.app import Api
from manager.ca.files import ManagerFiles
from manager.daemon import certificate
from tests.fakes.lone_manager import keep_to_itself, new_cluster


@asynccontextmanager
async def closing_badly(*_: object, **__: object) -> AsyncIterator[None]:
    yield
    raise RuntimeError("a connection cannot be closed")


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_cluster_that_was_left_is_gone_however_the_daemon_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    data, config = await new_cluster(tmp_path)
    keep_to_itself(monkeypatch)
    monkeypatch.setattr(app, "serve_api", closing_badly)
    left: list[asyncio.Task[None]] = []

    def ready() -> None:
        if leaves:
            left.append(asyncio.create_task(manager._leave()))
        else:
            manager.stop()

    manager = app.Manager(data, config, ready)
    with pytest.raises(ExceptionGroup) as caught:
        await manager.run()
    assert caught.group_contains(RuntimeError, match="cannot be closed")
    assert data.initialised() == data.store.exists() == data.certificates.exists() == (not leaves)


async def test_the_api_sees_what_the_scheduler_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, config = await new_cluster(tmp_path)
    keep_to_itself(monkeypatch)
    made: list[Api] = []
    looking: list[asyncio.Task[None]] = []

    class Kept(Api):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            made.append(self)

    async def look() -> None:
        async with asyncio.timeout(10):
            while made[0].context.load() is None:
                await asyncio.sleep(0.01)
        load = made[0].context.load()
        assert load is not None
        assert list(load.nodes) == [config.node_id]
        manager.stop()

    monkeypatch.setattr(app, "Api", Kept)
    manager = app.Manager(data, config, lambda: looking.append(asyncio.create_task(look())))
    await manager.run()
    await looking[0]
    assert made[0].context.load() is None  # it leads no more


async def test_a_certificate_that_cannot_be_stored_is_renewed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, config = await new_cluster(tmp_path)
    keep_to_itself(monkeypatch)
    monkeypatch.setattr(certificate, "RENEW_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(certificate, "renewal_time", lambda *_: 0.0 if tries < 2 else math.inf)
    before, write, tries = ManagerFiles(data.path).node.node.read_bytes(), CredentialFiles.write, 0

    def fail_once(files: CredentialFiles, *parts: bytes) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(files, *parts)
        manager.stop()

    monkeypatch.setattr(CredentialFiles, "write", fail_once)
    manager = app.Manager(data, config, lambda: None)
    await manager.run()
    assert "No space left on device" in caplog.text
    assert ManagerFiles(data.path).node.node.read_bytes() != before
