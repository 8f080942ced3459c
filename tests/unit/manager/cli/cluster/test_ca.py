"""The root certificate: shown, and replaced while the command tells how far that is."""

from typing import Any

import pytest

from manager.cli.cluster import ca as module

OLD, NEW = {"TrustRoot": "old", "CertIssuerPublicKey": "a"}, {"TrustRoot": "new", "CertIssuerPublicKey": "b"}


def node(name: str, trusts: str, signed: str) -> dict[str, Any]:
    return {"Description": {"Hostname": name, "TLSInfo": {"TrustRoot": trusts, "CertIssuerPublicKey": signed}}}


class Rotating:
    """A manager whose nodes get the new root, then its certificates: a step each time that it is asked for them."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self._steps = [
            [node("h1", "new", "a"), node("h2", "old", "a")],
            [node("h1", "new", "a"), node("h2", "old", "a")],
            [node("h1", "new", "b"), node("h2", "new", "a")],
        ]

    async def get(self, path: str) -> Any:
        match path:
            case "/nodes":
                return self._steps.pop(0)
            case "/swarm/client-certificates":
                past = {"Name": "bob", "RevokedBy": "alice", "RevokedAt": "2026-01-01T00:00:01Z"}
                ended = {"Name": "ci", "RevokedBy": "the root's rotation", "RevokedAt": "2026-01-01T00:00:01Z"}
                return [past, ended, {**ended, "Name": "long ago", "RevokedAt": "2025-01-01T00:00:00Z"}]
        return {
            "Version": {"Index": 7},
            "Spec": {"Name": "default", "CAConfig": {"NodeCertExpiry": 5}},
            "TLSInfo": NEW if self.posted else OLD,
            "RootRotationInProgress": bool(self.posted and self._steps),
            "UpdatedAt": "2026-01-01T00:00:00Z",
        }

    async def post(self, path: str, body: Any, params: Any) -> None:
        self.posted.append((path, body["CAConfig"], params))


async def run(client: Rotating, **flags: bool) -> None:
    await module.ca.callback.__wrapped__(client, **{"rotate": True, "detach": False, **flags})  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0)


async def test_the_root_is_shown(capsys: pytest.CaptureFixture[str]):
    client = Rotating()
    await run(client, rotate=False)
    assert capsys.readouterr().out == "old"
    assert not client.posted


async def test_a_rotation_is_told_as_it_goes_on(capsys: pytest.CaptureFixture[str]):
    client = Rotating()
    await run(client)
    assert client.posted == [("/swarm/update", {"NodeCertExpiry": 5, "ForceRotate": 1}, {"version": "7"})]
    first, second, root, clients = capsys.readouterr().out.splitlines()
    assert first == "new root: believed by 1/2 nodes, 0 have its certificates; waiting for h2"
    assert second == "new root: believed by 2/2 nodes, 1 have its certificates; waiting for h2"
    assert root.startswith("The root is sha256:")
    assert clients == "These clients need new certificates ('swarm-manager client-cert NAME --replace'): ci"


async def test_who_does_not_wait_hears_nothing(capsys: pytest.CaptureFixture[str]):
    client = Rotating()
    await run(client, detach=True)
    assert client.posted
    assert capsys.readouterr().out == ""
