"""What a host lacks for the data plane is said in sentences, and it has plain bridges then."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.fakes.engine import FakeEngine
from worker.host import command
from worker.host.command import Output
from worker.net.local_networks import LocalNetworks
from worker.net.watch import capabilities
from worker.net.watch.capabilities import lacking

LOCAL = "unix:///var/run/docker.sock"
ROOT, NOBODY = 0, 65534
NOTHING: dict[str, str] = {}


@pytest.mark.parametrize(
    ("docker_host", "user", "absent", "refusals", "words"),
    [
        (LOCAL, ROOT, (), NOTHING, ()),
        (LOCAL, NOBODY, ("nft",), {"vxlan": "x", "nft": "y"}, ("the worker does not run as root",)),
        (LOCAL, ROOT, ("nft",), {"nft": "y"}, ("nft is not installed (Debian package nftables)",)),
        (LOCAL, ROOT, ("conntrack", "iptables-restore"), NOTHING, ("package conntrack", "package iptables")),
        (LOCAL, ROOT, (), {"vxlan": "Operation not supported"}, ("no VXLAN link (Operation not supported)",)),
        (LOCAL, ROOT, (), {"nft": "No such file"}, ("nftables have no fwd or no dup (No such file)",)),
        ("tcp://192.0.2.1:2375", ROOT, (), NOTHING, ("the engine at tcp://192.0.2.1:2375 is another host's",)),
    ],
)
async def test_each_thing_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
    docker_host: str,
    user: int,
    absent: tuple[str, ...],
    refusals: dict[str, str],
    words: tuple[str, ...],
) -> None:
    async def vxlan_refusal() -> str:
        return refusals.get("vxlan", "")

    async def nft(*_: str, **__: object) -> Output:
        error = refusals.get("nft", "")
        return Output(int(bool(error)), "", error)

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool in absent else f"/usr/sbin/{tool}")
    monkeypatch.setattr(capabilities, "_vxlan_refusal", vxlan_refusal)
    monkeypatch.setattr(command, "run", nft)
    found = await lacking(docker_host)
    assert len(found) == len(words)
    for sentence, word in zip(found, words, strict=True):
        assert word in sentence


def test_a_host_without_data_plane_says_what_that_means() -> None:
    first, *rest = LocalNetworks(FakeEngine(), "node1", ("nft is not installed",)).lacks()
    assert "ports are not published in the routing mesh" in first
    assert rest == ["nft is not installed"]
