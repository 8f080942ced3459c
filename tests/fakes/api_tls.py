"""The API over TCP with mutual TLS, and certificates for its clients as docker wants them."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from common.clock import SystemClock
from common.model.client import ROLES_BY_LABEL, ClientCertificate
from common.tls import ROLE_MANAGER, CredentialFiles, api_context, certificate_request, new_key
from manager.api.http.server import serve
from manager.ca import clients
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster
from tests.fakes.certificates import Pki


class TlsApi:
    """An `ApiCluster` at `host` (`tcp://127.0.0.1:PORT`). `pki` is its authority, for certificates of nodes."""

    def __init__(self, cluster: ApiCluster, host: str, context: ssl.SSLContext, pki: Pki) -> None:
        self.cluster = cluster
        self.host = host
        self.context = context
        self.pki = pki
        self.admin = Client(cluster.api)

    @property
    def url(self) -> str:
        return self.host.replace("tcp://", "https://")

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    async def client(self, name: str, role: str, **order: Any) -> Path:
        """Order a certificate over the API; return its directory."""
        key = new_key()
        body = {"Name": name, "Role": role, "CertificateRequest": certificate_request(key).decode(), **order}
        status, answer = await self.admin.ask("POST", "/swarm/client-certificates/create", body)
        assert status == 201, answer
        return write_files(
            self.pki.directory / f"client-{name}-{answer['ID'][:6]}",
            answer["Certificate"].encode(),
            key,
            answer["CA"].encode(),
        )

    async def past_client(self, name: str, role: str, ended: float) -> Path:
        """Make a certificate that has ended so many seconds ago; its record is there."""
        key, now = new_key(), SystemClock().now() - 24 * 3600
        lifetime = int((24 * 3600 - ended) * 1e9)
        record = ClientCertificate(id=clients.new_client_serial(), name=name, role=role, not_after=now + lifetime / 1e9)
        await self.cluster.store.update(lambda tx: tx.put(record))
        request = certificate_request(key)
        pem = clients.issue(self.pki.authority, request, record, ROLES_BY_LABEL[role], lifetime, now)
        return write_files(self.pki.directory / f"past-{name}", pem, key, self.pki.authority.root_certificate)

    def node(self, role: str, pki: Pki | None = None) -> Path:
        """Make a node's certificate, in the files that docker wants."""
        of = pki or self.pki
        files = of.files("n1", role)
        return docker_files(files, of.directory / f"docker-{role}", self.pki.authority.root_certificate)

    @contextlib.asynccontextmanager
    async def browsing(self, files: Path | None) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=client_context(self, files))
        async with aiohttp.ClientSession(self.url, connector=connector) as session:
            yield session


def client_context(api: TlsApi, files: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=api.pki.authority.root_certificate.decode())
    if files is not None:
        context.load_cert_chain(files / "cert.pem", files / "key.pem")
    return context


def write_files(directory: Path, certificate: bytes, key: bytes, root: bytes) -> Path:
    directory.mkdir()
    for name, data in (("cert.pem", certificate), ("key.pem", key), ("ca.pem", root)):
        (directory / name).write_bytes(data)
    return directory


def docker_files(files: CredentialFiles, directory: Path, root: bytes) -> Path:
    text = files.node.read_bytes()
    start = text.index(b"-----BEGIN PRIVATE KEY")
    return write_files(directory, text[:start], text[start:], root)


@contextlib.asynccontextmanager
async def tls_api(cluster: ApiCluster, folder: Path, **options: Any) -> AsyncIterator[TlsApi]:
    """Serve a cluster's API over TLS on a free port of 127.0.0.1."""
    pki = Pki(folder, authority=cluster.authority)
    context = api_context(pki.files("m1", ROLE_MANAGER))
    async with serve(cluster.api, ["tcp://127.0.0.1:0"], ssl_context=context, **options) as hosts:
        yield TlsApi(cluster, hosts[0], context, pki)


async def revoke(cluster: ApiCluster, name: str) -> None:
    """Revoke as the API's route does, but without a client."""

    def change(tx: Any) -> None:
        for each in clients.find(tx, name, cluster.clock.now()):
            tx.put(msgspec.structs.replace(each, revoked_at=cluster.clock.now(), revoked_by="test"))

    await cluster.store.update(change)
