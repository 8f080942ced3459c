"""The files of a manager's own etcd: which roots it believes, when it restarts for that, and what it starts with."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from common.clock import HOUR, SystemClock, seconds
from common.errors import Unavailable
from common.model import RootKey
from common.model.authority import RotationPhase
from manager.ca.authority import Authority, create_root
from manager.config import DataDir, EtcdConfig, ManagerConfig
from manager.etcd import ExternalEtcd, OwnEtcd
from manager.store.backends.sealed import AesSeal
from manager.whole_store import runs

NOW = SystemClock().now()
OLD, NEW = create_root("c1", NOW), create_root("c1", NOW)
SEAL = AesSeal({1: b"k" * 32}, 1)
TRUST = msgspec.structs.replace(
    OLD, next_certificate=NEW.certificate, next_key=NEW.key, phase=RotationPhase.TRUST, step=1
)
ISSUE = msgspec.structs.replace(TRUST, phase=RotationPhase.ISSUE, step=2)


class Etcd:
    """An etcd in a folder, of which it is noted how often it was restarted."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = ManagerConfig(
            node_id="m1",
            advertise_addr="127.0.0.1:2377",
            listen_addr="127.0.0.1:2377",
            etcd=EtcdConfig(peer_addr="127.0.0.1:2380", cluster_id="c1", peers=("m1=https://127.0.0.1:2380",)),
        )
        self.folder = folder / "etcd"
        self.own = OwnEtcd(DataDir(folder), config, SEAL, SystemClock(), random.Random(1))
        self.restarts = 0
        monkeypatch.setattr(self.own.process, "restart", self._restart)
        monkeypatch.setattr(self.own.process, "ready", self._ready)

    async def _restart(self) -> None:
        self.restarts += 1

    async def _ready(self, _seconds: float) -> None:
        """It is."""

    @property
    def believed(self) -> set[bytes]:
        found = x509.load_pem_x509_certificates((self.folder / "root.crt").read_bytes())
        return {each.public_bytes(Encoding.PEM) for each in found}

    def signed_by(self, root: RootKey) -> bool:
        leaf = x509.load_pem_x509_certificate((self.folder / "peer.crt").read_bytes())
        try:
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(root.certificate))
        except Exception:  # noqa: BLE001 - of whatever kind: it is not
            return False
        return True


@pytest.fixture
def etcd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Etcd:
    return Etcd(tmp_path, monkeypatch)


def test_without_a_root_it_cannot_start(etcd: Etcd) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*root\.sealed"):
        etcd.own.prepare()


def test_its_certificate_is_for_a_day_and_kept_while_it_lasts(etcd: Etcd) -> None:
    etcd.own.keep_root(OLD)
    began = int(SystemClock().now())
    etcd.own.prepare()
    made = (etcd.folder / "peer.crt").read_bytes()
    leaf = x509.load_pem_x509_certificate(made)
    assert 0 <= leaf.not_valid_after_utc.timestamp() - began - seconds(24 * HOUR) <= SystemClock().now() - began
    assert etcd.signed_by(OLD)
    assert etcd.believed == {OLD.certificate}
    etcd.own.prepare()
    assert (etcd.folder / "peer.crt").read_bytes() == made
    assert OLD.key not in (etcd.folder / "root.sealed").read_bytes(), "it is sealed"


async def test_it_restarts_only_where_other_roots_are_to_be_believed(etcd: Etcd) -> None:
    etcd.own.keep_root(OLD)
    etcd.own.prepare()
    assert etcd.own.restarts_for(TRUST)
    await etcd.own.take_root(TRUST)
    assert (etcd.restarts, etcd.believed) == (1, {OLD.certificate, NEW.certificate})
    assert etcd.signed_by(OLD)
    assert not etcd.own.restarts_for(ISSUE)
    await etcd.own.take_root(ISSUE)
    assert etcd.restarts == 1
    assert etcd.signed_by(NEW)
    await etcd.own.take_root(NEW)
    assert (etcd.restarts, etcd.believed) == (2, {NEW.certificate})


async def test_a_renewal_changes_no_root_that_etcd_has_not_read(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    etcd.own.keep_root(OLD)
    etcd.own.prepare()
    before = (etcd.folder / "peer.crt").read_bytes()
    due = iter([0.0])
    monkeypatch.setattr("manager.etcd.renewal_time", lambda *_: next(due))
    with pytest.raises(RuntimeError, match="StopIteration"):  # after the first renewal
        await etcd.own.keep_valid(Authority(TRUST))
    assert (etcd.folder / "peer.crt").read_bytes() != before
    assert etcd.own.restarts_for(TRUST), "it takes that step yet"


def test_a_root_that_an_earlier_release_has_kept_opens(etcd: Etcd) -> None:
    etcd.own.keep_root(OLD)
    kept = SEAL.seal("etcd/root", msgspec.msgpack.encode((OLD.certificate, OLD.key)))
    (etcd.folder / "root.sealed").write_bytes(kept)
    etcd.own.prepare()
    assert etcd.signed_by(OLD)


async def test_an_etcd_of_others_that_hangs_is_unavailable() -> None:
    """It takes connections and says nothing, as a stopped one does, or one behind a load balancer."""
    hung = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        config = EtcdConfig(endpoints=(endpoint,), peer_addr="", cluster_id="c1")
        other = ExternalEtcd(config, SEAL)
        with pytest.raises(Unavailable, match=r"etcd does not answer within 0\.05 s: is it up"):
            await other.answers(0.05)
        assert not await runs(other)
        hung.set()
