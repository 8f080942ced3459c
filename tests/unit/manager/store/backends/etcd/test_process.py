"""etcd as a child: how it is called, that it is started again, and what is said when it cannot be."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest

from common.errors import Unavailable
from manager.store.backends.etcd.process import EtcdMember, EtcdProcess, PeerFiles

FILES = PeerFiles(Path("/c.pem"), Path("/k.pem"), Path("/r.pem"))


def member(folder: Path, **more: Any) -> EtcdMember:
    url = "https://10.0.0.1:2380"
    return EtcdMember(
        "n1", folder, "https://0.0.0.0:2380", url, {"n0": "https://10.0.0.2:2380", "n1": url}, "c1", **more
    )


def script(folder: Path, name: str, content: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o755)


def test_only_the_manager_reaches_it_and_only_members_its_peers(tmp_path: Path) -> None:
    command = member(tmp_path, files=FILES, joins=True).command()
    assert command[:4] == ["setpriv", "--pdeathsig", "TERM", "etcd"]
    assert f"--listen-client-urls=unix://{tmp_path}/etcd.sock" in command
    assert "--peer-client-cert-auth=true" in command
    assert "--peer-cert-allowed-hostname=swarm-etcd" in command
    assert "--initial-cluster=n0=https://10.0.0.2:2380,n1=https://10.0.0.1:2380" in command
    assert "--initial-cluster-state=existing" in command
    assert not any(each.startswith("--force") for each in command)
    assert "--force-new-cluster=true" in member(tmp_path, forced=True).command()


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    command = member(tmp_path / "a b, c").command()
    assert f"--listen-client-urls=unix://{tmp_path}/a%20b%2C%20c/etcd.sock" in command, "etcd's flag is a list of URLs"


async def test_without_etcd_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "setpriv", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="etcd is not installed: on Debian it is in the package etcd-server"):
        await EtcdProcess(member(tmp_path), random.Random(1)).run()


async def test_it_is_started_again_and_its_words_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script(tmp_path, "setpriv", 'shift 2; exec "$@"')
    said = '{"level":"error","ts":"1","msg":"cannot listen","port":2380}'
    script(tmp_path, "etcd", f"echo x >> {tmp_path}/starts; echo '{said}' >&2; echo plain >&2; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("manager.store.backends.etcd.process._RESTART_FIRST_SECONDS", 0.01)
    running = asyncio.create_task(EtcdProcess(member(tmp_path), random.Random(1)).run())
    while not (tmp_path / "starts").exists() or (tmp_path / "starts").read_text().count("x") < 3:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert (
        "manager.store.backends.etcd.process",
        logging.ERROR,
        "etcd: cannot listen port=2380",
    ) in caplog.record_tuples
    assert "etcd: plain" in caplog.text
    assert "etcd has ended with code 3: starting it again" in caplog.text


async def test_it_ends_with_what_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "setpriv", 'shift 2; exec "$@"')
    script(tmp_path, "etcd", f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    async with EtcdProcess(member(tmp_path / "etcd-data"), random.Random(1)).running():
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
    assert (tmp_path / "etcd-data").stat().st_mode & 0o777 == 0o700


async def test_who_waits_in_vain_is_told_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"within 0\.1 s: is a majority of its members up"):
        await EtcdProcess(member(tmp_path), random.Random(1)).ready(0.1)
