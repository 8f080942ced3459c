"""What a host lacks for the data plane is said in sentences, and it has plain bridges then."""

from __future__ import annotations

import pytest

from tests.fakes.engine import FakeEngine
from worker.localnetworks import LocalNetworks
from worker.net import abilities
from worker.net.abilities import lacking

LOCAL = "unix:///var/run/docker.sock"
ROOT, NOBODY = 0, 65534


@pytest.mark.parametrize(
    ("docker_host", "user", "absent", "refusal", "words"),
    [
        (LOCAL, ROOT, (), "", ()),
        (LOCAL, NOBODY, ("nft",), "x", ("the worker does not run as root",)),
        (LOCAL, ROOT, ("nft",), "", ("nft is not installed (Debian package nftables)",)),
        (LOCAL, ROOT, ("conntrack", "iptables-restore"), "", ("package conntrack", "package iptables")),
        (LOCAL, ROOT, (), "Operation not supported", ("no VXLAN link (Operation not supported)",)),
        ("tcp://192.0.2.1:2375", ROOT, (), "", ("the engine at tcp://192.0.2.1:2375 is another host's",)),
    ],
)
async def test_each_thing_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
    docker_host: str,
    user: int,
    absent: tuple[str, ...],
    refusal: str,
    words: tuple[str, ...],
) -> None:
    async def vxlan_refusal() -> str:
        return refusal

    monkeypatch.setattr(abilities.os, "geteuid", lambda: user)
    monkeypatch.setattr(abilities.shutil, "which", lambda tool: None if tool in absent else f"/usr/sbin/{tool}")
    monkeypatch.setattr(abilities, "_vxlan_refusal", vxlan_refusal)
    found = await lacking(docker_host)
    assert len(found) == len(words)
    for sentence, word in zip(found, words, strict=True):
        assert word in sentence


def test_a_host_without_data_plane_says_what_that_means() -> None:
    first, *rest = LocalNetworks(FakeEngine(), "node1", ("nft is not installed",)).lacks()
    assert "ports are not published in the routing mesh" in first
    assert rest == ["nft is not installed"]
