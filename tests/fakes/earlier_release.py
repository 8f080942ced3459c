"""A manager's data directory as the release before secrets were sealed wrote it, made by code."""

from __future__ import annotations

import contextlib
import io
import random
import sqlite3
import tarfile

import msgspec

from common.clock import SystemClock
from common.model import Cluster, Config, Node, Secret, Service, StoredObject, Task
from common.model.cluster import JoinTokens
from common.model.container import ContainerSpec
from common.model.node import TunnelKey
from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import ServiceSpec, TaskSpec
from common.tls import root_digest
from manager.ca.authority import create_root
from manager.ca.tokens import new_tokens
from manager.config import DataDir, ManagerConfig
from manager.store.backends.confirmed import ConfirmedFile, Position
from manager.store.backends.schema import kind_of, migrate, row_digest, table_of, wrap_sum
from manager.store.backends.sealed import Unsealed

# The schema of the release before.
BEFORE = 3
INDEX = 7
SPEC = TaskSpec(container_spec=ContainerSpec(image="nginx", env=("A=b",)))
SECRET, CONFIG, TUNNEL = b"the-secret's-data", b"the-config's-data", b"T" * 32


def objects(tokens: JoinTokens) -> list[StoredObject]:
    return [
        Cluster(id="c1", join_tokens=tokens),
        Secret(id="x1", spec=SecretSpec(name="key", data=SECRET)),
        Config(id="f1", spec=ConfigSpec(name="conf", data=CONFIG)),
        Node(id="n1", tunnel_keys=(TunnelKey(generation=1, private=TUNNEL, public=b"P" * 32),)),
        Service(id="s1", spec=ServiceSpec(name="web")),
        *(Task(id=f"t{number}", service_id="s1", slot=number, spec=SPEC) for number in range(3)),
        Task(id="t3", service_id="s1", slot=3),
    ]


def write_before(data: DataDir) -> tuple[list[StoredObject], bytes]:
    """Write a data directory as the release before did; return its objects and its root's certificate."""
    data.certificates.mkdir(parents=True)
    root = create_root("c1", SystemClock().now())
    (data.certificates / "ca.crt").write_bytes(root.certificate)
    (data.certificates / "ca.key").write_bytes(root.key)
    values = objects(new_tokens(root_digest(root.certificate), random.Random(1)))
    with contextlib.closing(sqlite3.connect(data.store, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        migrate(database, Unsealed(), BEFORE)
        checksum = 0
        for value in values:
            kind, body = kind_of(value), msgspec.msgpack.encode(value)
            digest = row_digest(kind, value.id, body)
            checksum = wrap_sum(checksum + digest)
            put = f"INSERT INTO {table_of(kind)} VALUES (?, ?, ?, ?)"
            database.execute(put, (kind, value.id, body, digest))
        position = Position(INDEX, len(values), checksum, 1e9)
        fields = msgspec.structs.astuple(position)
        database.execute("UPDATE reached SET last_index = ?, count = ?, checksum = ?, time = ?", fields)
    note = ConfirmedFile(data.store)
    note.open(position)
    note.close()
    data.save(ManagerConfig(node_id="n1", advertise_addr="192.0.2.1:2377", listen_addr=":2377"))
    return values, root.certificate


def back_up_before(data: DataDir) -> bytes:
    """Return a backup as the release before made it of such a directory."""
    out = io.BytesIO()
    manifest = {"format": 1, "cluster_id": "c1", "release": "before", "made_at": 1e9}
    members = {
        "manifest.json": msgspec.json.encode(manifest),
        "config.json": data.config.read_bytes(),
        "ca.crt": (data.certificates / "ca.crt").read_bytes(),
        "ca.key": (data.certificates / "ca.key").read_bytes(),
        "store.db": data.store.read_bytes(),
    }
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()
