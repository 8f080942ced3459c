"""This manager's own etcd: where it listens, whom it knows, and the certificate that it shows to the others'.

The certificate is for a day, so that a demoted manager's is soon worth nothing. A manager that was away for longer
signs its own at its start, with the root that it keeps beside its etcd, sealed as the store is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec
from cryptography import x509

from common.clock import HOUR, Clock, seconds, sleep_until
from common.errors import Unavailable
from common.model import RootKey
from common.process.private_files import private_folder, write_private
from common.tls import ROLE_ETCD, Identity, certificate_request, identity_in, new_key, renewal_time
from manager.ca.authority import Authority, new_serial
from manager.config import DataDir, EtcdConfig, ManagerConfig, bracket_host, split_address
from manager.store.backends.etcd.api import NoAnswer
from manager.store.backends.etcd.backend import EXTERNAL_ATTEMPTS, EtcdBackend
from manager.store.backends.etcd.client import EtcdClient, ask_peer
from manager.store.backends.etcd.members import Members
from manager.store.backends.etcd.process import PEER_NAME, EtcdMember, EtcdProcess, PeerFiles
from manager.store.backends.sealed import Seal
from manager.store.leadership import LeadershipTimeouts

_LIFETIME = 24 * HOUR
_RENEW_AGAIN_SECONDS = 600.0
_READY_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 0.05
# A member that takes over what it was sent may have little of a processor left for an answer.
_PEER_SECONDS = 5.0
# What the root is sealed for.
_ROOT_PATH = "etcd/root"

_log = logging.getLogger(__name__)


def peer_url(address: str) -> str:
    """Return the URL at which other members reach the etcd at `HOST:PORT`."""
    return f"https://{address}"


def etcd_listen_addr(config: ManagerConfig) -> str:
    """Return where a manager's own etcd listens, `HOST:PORT`: on the cluster port's host, at its own port."""
    assert config.etcd is not None, "its store is in etcd"
    _, port = split_address(config.etcd.peer_addr)
    host = split_address(config.listen_addr)[0] or "0.0.0.0"  # noqa: S104 - as the cluster's port
    return f"{bracket_host(host)}:{port}"


class OwnEtcd:
    """The etcd of a data directory. `seal` is the store's."""

    timeouts = LeadershipTimeouts()

    def __init__(self, data: DataDir, config: ManagerConfig, seal: Seal, clock: Clock, rng: random.Random) -> None:
        assert config.etcd is not None, "its store is in etcd"
        self._etcd: EtcdConfig = config.etcd
        self._node_id = config.node_id
        self._files = _PeerFiles(data.etcd)
        self._root = data.etcd / "root.sealed"
        self._directory = data.etcd
        self._seal = seal
        self._clock = clock
        self._rng = rng
        self.process = EtcdProcess(self._member(config), rng)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run it while the context lasts."""
        return self.process.running()

    async def answers(self, seconds: float) -> None:
        """Wait until it answers.

        Raises:
            Unavailable: it does not for so long.

        """
        await self.process.ready(seconds)

    def client(self) -> EtcdClient:
        """Return a new client, for the caller to close."""
        return self.process.client()

    def members(self, client: EtcdClient) -> Members | EtcdConfig:
        """Return what changes the members, or, where that is others' to do, how managers reach that etcd."""
        return Members(client, self._ask_peer)

    async def _ask_peer(self, url: str, path: str) -> bytes:
        try:
            context = self._files.context()
        except OSError as error:  # they are being replaced
            raise NoAnswer(f"cannot read etcd's certificate: {error}") from error
        return await ask_peer(url, path, context, PEER_NAME, _PEER_SECONDS)

    @property
    def has_run(self) -> bool:
        """Whether it has started before: it may be one of the members that decide."""
        return self.process.has_run

    def _member(self, config: ManagerConfig) -> EtcdMember:
        return EtcdMember(
            name=self._node_id,
            directory=self._directory,
            listen_url=peer_url(etcd_listen_addr(config)),
            peer_url=peer_url(self._etcd.peer_addr),
            cluster=dict(each.split("=", 1) for each in self._etcd.peers),
            cluster_id=self._etcd.cluster_id,
            files=PeerFiles(self._files.certificate, self._files.key, self._files.root),
            joins=self._etcd.joins,
            forced=self._etcd.forced,
        )

    def keep_root(self, root: RootKey) -> None:
        """Keep the root for starts after a long time; sealed."""
        private_folder(self._directory)
        write_private(self._root, self._seal.seal(_ROOT_PATH, msgspec.msgpack.encode(root)))

    def restarts_for(self, root: RootKey) -> bool:
        """Whether etcd restarts for `take_root`: it reads which roots it believes only when it starts."""
        return self._files.believes_others_than(root.trusted)

    async def take_root(self, root: RootKey) -> None:
        """Show a certificate of the root as it is now, and believe the roots that are to be: etcd restarts for these.

        Raises:
            OSError: the files cannot be written.
            Unavailable: etcd did not come back.

        """
        self.keep_root(root)
        restarts = self.restarts_for(root)
        self._files.write_roots(root.trusted)
        self._issue(Authority(root))
        if restarts:
            await self.process.restart()
            await self.process.ready(_READY_SECONDS)

    def prepare(self) -> None:
        """Have a certificate that is valid, before etcd starts.

        Raises:
            Unavailable: there is no certificate, and no root to sign one.

        """
        if self._files.valid_until() - self._clock.now() < seconds(_LIFETIME) / 4:
            root = self._kept_root()
            self._files.write_roots(root.trusted)
            self._issue(Authority(root))

    def backend(self) -> EtcdBackend:
        """Return the store's backend in this etcd."""
        return EtcdBackend(self.client(), self._etcd.cluster_id, self._seal)

    async def keep_valid(self, authority: Authority) -> None:
        """Renew the certificate in time, until cancelled; etcd reads it again at every handshake."""
        while True:
            await sleep_until(renewal_time(self._files.identity(), self._rng), self._clock)
            try:
                self._issue(authority)
            except (OSError, Unavailable) as error:
                _log.error("the certificate of etcd cannot be renewed: %s: trying again soon", error)
                await asyncio.sleep(_RENEW_AGAIN_SECONDS)

    async def ready(self, late: Callable[[], None]) -> None:
        """Wait until this member knows a leader and has a vote, however long that takes; `late` hears of each 10 s."""
        while True:
            try:
                await self.process.ready(_READY_SECONDS)
                async with asyncio.timeout(_READY_SECONDS):
                    await self._until_it_reads()
            except (Unavailable, TimeoutError) as error:
                _log.warning("%s", error if isinstance(error, Unavailable) else "etcd on this host has no vote yet")
                late()
            else:
                return

    async def _until_it_reads(self) -> None:
        """Wait until the member answers reads, which one without a vote does not; nobody tells when it has one."""
        client = self.process.client()
        try:
            while True:
                try:
                    await client.read(b"\0", b"\1", limit=1)
                except Unavailable:
                    await asyncio.sleep(_ASK_AGAIN_SECONDS)
                else:
                    return
        finally:
            await client.close()

    def _kept_root(self) -> RootKey:
        try:
            sealed = self._root.read_bytes()
        except OSError as error:
            raise Unavailable(f"cannot read {self._root}: {error.strerror}: run this as root") from error
        kept = msgspec.msgpack.decode(self._seal.open(_ROOT_PATH, sealed), type=tuple[bytes, bytes] | RootKey)
        return kept if isinstance(kept, RootKey) else RootKey(certificate=kept[0], key=kept[1])

    def _issue(self, authority: Authority) -> None:
        """Make a new certificate. The roots that etcd trusts do not change."""
        key = new_key()
        identity = Identity(self._node_id, ROLE_ETCD, authority.cluster_id, new_serial())
        names = dict.fromkeys((split_address(self._etcd.peer_addr)[0], socket.gethostname()))
        chain = authority.issue(certificate_request(key), identity, _LIFETIME, self._clock.now(), tuple(names))
        self._files.write(chain, key)


class ExternalEtcd:
    """An etcd that others run, as `OwnEtcd` is used. Its members, their certificates and their restarts are theirs."""

    timeouts = LeadershipTimeouts(silence=2.5, sure=2.0, step_down=3.2)

    def __init__(self, etcd: EtcdConfig, seal: Seal) -> None:
        self._etcd = etcd
        self._seal = seal

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start nothing."""
        yield

    async def answers(self, seconds: float) -> None:
        """Wait until it answers, and takes changes as large as they may be; errors as `EtcdBackend.try_limits`."""
        backend = self.backend()
        why = f"etcd does not answer within {seconds:g} s"
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        await backend.try_limits()
                    except NoAnswer as error:
                        why = error.message
                        await asyncio.sleep(_ASK_AGAIN_SECONDS)
                    else:
                        return
        except TimeoutError:
            raise Unavailable(f"{why}: is it up, and are --etcd-endpoints and its certificates right?") from None
        finally:
            await backend.close()

    async def ready(self, late: Callable[[], None]) -> None:
        """Wait until it answers, however long that takes; `late` hears of each 10 s."""
        while True:
            try:
                await self.answers(_READY_SECONDS)
            except Unavailable as error:
                _log.warning("%s", error.message)
                late()
                await asyncio.sleep(1.0)
            else:
                return

    def client(self) -> EtcdClient:
        return EtcdClient(None, self._etcd.endpoints, self._context())

    def members(self, _client: EtcdClient) -> EtcdConfig:
        return self._etcd

    def backend(self) -> EtcdBackend:
        return EtcdBackend(self.client(), self._etcd.cluster_id, self._seal, EXTERNAL_ATTEMPTS)

    def prepare(self) -> None:
        """Check that its files can be used.

        Raises:
            Unavailable: they cannot.

        """
        self._context()

    def keep_root(self, root: RootKey) -> None:
        """Nothing is signed without the store."""

    def restarts_for(self, _root: RootKey) -> bool:
        return False

    async def take_root(self, root: RootKey) -> None:
        """Its certificates are of another authority."""

    async def keep_valid(self, _authority: Authority) -> None:
        """Its certificates are others' to renew."""

    def _context(self) -> ssl.SSLContext | None:
        etcd = self._etcd
        if not any(each.startswith("https://") for each in etcd.endpoints):
            return None
        try:
            context = ssl.create_default_context(cafile=etcd.ca_file or None)
            if etcd.cert_file:
                context.load_cert_chain(etcd.cert_file, etcd.key_file)
        except OSError as error:
            raise Unavailable(
                f"cannot use the files for etcd ({etcd.ca_file}, {etcd.cert_file}, {etcd.key_file}): {error}"
            ) from error
        return context


Etcd: TypeAlias = OwnEtcd | ExternalEtcd


def etcd_of(data: DataDir, config: ManagerConfig, seal: Seal, clock: Clock, rng: random.Random) -> Etcd:
    """Return the etcd of a data directory whose store is in one: the manager's own, or others'."""
    assert config.etcd is not None, "its store is in etcd"
    return ExternalEtcd(config.etcd, seal) if config.etcd.endpoints else OwnEtcd(data, config, seal, clock, rng)


class _PeerFiles:
    """The PEM files of a member: etcd wants certificate and key apart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate, self.key, self.root = (directory / name for name in ("peer.crt", "peer.key", "root.crt"))

    def write_roots(self, roots: bytes) -> None:
        private_folder(self._directory)
        write_private(self.root, roots)

    def write(self, certificate: bytes, key: bytes) -> None:
        private_folder(self._directory)
        write_private(self.key, key)
        write_private(self.certificate, certificate)

    def context(self) -> ssl.SSLContext:
        """Return what shows other members that this is one, and believes them alone."""
        context = ssl.create_default_context(cafile=str(self.root))
        context.load_cert_chain(self.certificate, self.key)
        return context

    def believes_others_than(self, roots: bytes) -> bool:
        return not self.root.exists() or _certificates(self.root.read_bytes()) != _certificates(roots)

    def identity(self) -> Identity:
        return identity_in(self.certificate)

    def valid_until(self) -> float:
        """Return when the certificate expires, in Unix seconds; 0 if there is none."""
        try:
            return self.identity().not_after
        except Unavailable:
            return 0.0


def _certificates(pem: bytes) -> set[x509.Certificate]:
    return set(x509.load_pem_x509_certificates(pem))
