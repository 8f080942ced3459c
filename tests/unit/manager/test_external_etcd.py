"""Managers whose store is in an etcd that others run, over TLS with client certificates: a real one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.clock import HOUR, SystemClock
from common.errors import InvalidArgument, Unavailable
from common.tls import ROLE_ETCD, Identity, certificate_request, new_key
from manager import app
from manager.ca.authority import Authority, create_root, new_serial
from manager.config import ExternalEtcdConfig
from tests.e2e import ci
from tests.fakes.real_managers import RealManagers, free_address

needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")


class Pki:
    """The authority of those who run etcd: certificates are for both ends, as the gateway asks its own etcd."""

    def __init__(self, folder: Path, name: str = "theirs") -> None:
        self._authority = Authority(create_root(name, SystemClock().now()))
        self.folder = folder / name
        self.folder.mkdir()
        self.root = self._write("root.crt", self._authority.root_certificate)
        key = new_key()
        identity = Identity("etcd", ROLE_ETCD, name, new_serial())
        chain = self._authority.issue(certificate_request(key), identity, HOUR, SystemClock().now(), ("127.0.0.1",))
        self.certificate, self.key = self._write("etcd.crt", chain), self._write("etcd.key", key)

    def _write(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)


@contextlib.asynccontextmanager
async def etcd(folder: Path, pki: Pki, *options: str) -> AsyncIterator[str]:
    """Run one, and give its endpoint."""
    with contextlib.ExitStack() as held:
        client, peer = (free_address(held) for _ in range(2))
    urls = {"listen-client-urls": f"https://{client}", "advertise-client-urls": f"https://{client}"}
    urls |= {"listen-peer-urls": f"http://{peer}", "initial-advertise-peer-urls": f"http://{peer}"}
    files = {"cert-file": pki.certificate, "key-file": pki.key, "trusted-ca-file": pki.root}
    given = {"name": "e", "data-dir": str(folder / "data"), "initial-cluster": f"e=http://{peer}", **urls, **files}
    arguments = [f"--{name}={value}" for name, value in given.items()]
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "etcd", *arguments, "--client-cert-auth", *options),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"https://{client}"
    finally:
        process.kill()
        await process.wait()


def flags(pki: Pki, *endpoints: str) -> ExternalEtcdConfig:
    return ExternalEtcdConfig(endpoints, pki.root, pki.certificate, pki.key)


@needs_etcd
@ci.long
@pytest.mark.timeout(120)
async def test_managers_share_an_etcd_that_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "settle_memory", lambda: None)
    pki = Pki(tmp_path)
    async with etcd(tmp_path, pki, "--max-txn-ops=20000") as endpoint:
        with contextlib.ExitStack() as held:
            gone = f"https://{free_address(held)}"
        cluster = RealManagers(tmp_path, 2, flags(pki, gone, endpoint))
        async with cluster.running():
            first, second = cluster.all
            assert not (first.data.etcd / "data").exists()
            status, said = await second.ask("POST", "/configs/create", {"Name": "one", "Data": "YQ=="})
            assert status == 201, said
            await first.stop()

            async def accepted() -> bool:
                status, _ = await second.ask("POST", "/configs/create", {"Name": "two", "Data": "YQ=="})
                return status == 201

            await cluster.until(accepted)
            _, configs = await second.ask("GET", "/configs")
            assert {each["Spec"]["Name"] for each in configs} == {"one", "two"}


@needs_etcd
@ci.long
async def test_an_etcd_that_takes_too_little_is_refused(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    async with etcd(tmp_path, pki) as endpoint:
        with pytest.raises(Unavailable, match="start it with --max-txn-ops=20000"):
            async with RealManagers(tmp_path, 1, flags(pki, endpoint)).running():
                pass
        assert not (tmp_path / "m1").exists(), "nothing is left"


@needs_etcd
@ci.long
async def test_a_certificate_that_etcd_does_not_believe_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.bootstrap.ETCD_SECONDS", 3.0)
    pki, other = Pki(tmp_path), Pki(tmp_path, "other")
    async with etcd(tmp_path, pki, "--max-txn-ops=20000") as endpoint:
        wrong = ExternalEtcdConfig((endpoint,), pki.root, other.certificate, other.key)
        with pytest.raises(Unavailable, match="its certificates right"):
            async with RealManagers(tmp_path, 1, wrong).running():
                pass


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (ExternalEtcdConfig(("etcd-1:2379",)), "expected https://HOST:PORT"),
        (ExternalEtcdConfig(("https://etcd-1",)), "expected https://HOST:PORT"),
        (ExternalEtcdConfig(("https://etcd-1:2379",), cert_file="/x"), "belong together"),
    ],
)
def test_what_cannot_be_an_etcd_is_refused(given: ExternalEtcdConfig, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        given.config("127.0.0.1:2380", "c1")


@needs_etcd
async def test_a_data_directory_with_etcd_has_one_manager_at_a_time(tmp_path: Path) -> None:
    async with RealManagers(tmp_path, 1).running() as managers:
        data = managers.all[0].data
        with pytest.raises(Unavailable, match=f"{data.path} is in use: another process has it open"):
            await app.Manager(data, data.load(), lambda: None).run()
        assert (await managers.all[0].ask("GET", "/nodes"))[0] == 200
