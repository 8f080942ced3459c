"""Databases as images of Debian's packages on this machine, each with a writer that remembers what was acknowledged.

A container counts: it writes a number, and once the database has said that it is durable, notes it in `/acks`, which is
outside of its volume, as a client's memory is. The stop of a container kills both at once, in the middle of anything.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.images import Image, busybox_layer, docker_archive, tar_of

_POSTGRES_USER = 70


@dataclass(frozen=True)
class Database:
    """A database: what it runs, its files beside the programs, its writer, and what prints all numbers or its check.

    `next`: the shell's words for the largest number there is, `write` for the writing of `$n`.
    """

    name: str
    programs: tuple[str, ...]
    folders: tuple[str, ...]
    begin: str
    largest: str
    write: str
    numbers: str
    check: tuple[str, str]

    @property
    def script(self) -> str:
        """The container's program. It goes on after the largest number that was written or acknowledged."""
        return f"""
            log=/acks/{self.name}
            touch $log
            {self.begin}
            there=$({self.largest}); known=$(tail -n 1 $log)
            n=${{there:-0}}; [ "${{known:-0}}" -gt "$n" ] && n=$known
            while :; do
                n=$((n + 1))
                {self.write} > /dev/null && echo $n >> $log
            done
        """


# Debian has several versions of PostgreSQL beside each other; a new release of Debian has another one.
_SQL_VERSIONS = Path("/usr/lib/postgresql")
_SQL_VERSION = max((each.parts[-3] for each in _SQL_VERSIONS.glob("*/bin/postgres")), key=int, default="17")
_SQL = f"{_SQL_VERSIONS}/{_SQL_VERSION}/bin"
_PSQL = f"{_SQL}/psql -X -q -A -t -h /tmp -U postgres postgres"

REDIS = Database(
    name="redis",
    programs=("/usr/bin/redis-server", "/usr/bin/redis-cli", "/usr/bin/redis-check-aof"),
    folders=(),
    begin=(
        "redis-server --dir /data --appendonly yes --appendfsync always --save '' & "
        "until redis-cli ping 2>/dev/null | grep -q PONG; do sleep 0.1; done"
    ),
    largest="redis-cli zrange numbers -1 -1",
    write="redis-cli zadd numbers $n $n | grep -qx 1",
    numbers="redis-cli zrange numbers 0 -1",
    check=("redis-check-aof /data/appendonlydir/appendonly.aof.manifest 2>&1 | grep -c 'manifest are valid'", "1"),
)
SQLITE = Database(
    name="sqlite",
    programs=("/usr/bin/sqlite3",),
    folders=(),
    begin="sqlite3 /data/db 'create table if not exists t(n integer primary key)'",
    largest="sqlite3 -cmd '.timeout 9000' /data/db 'select max(n) from t'",
    write='sqlite3 /data/db "pragma synchronous=full; insert into t values($n)"',
    numbers="sqlite3 -cmd '.timeout 9000' /data/db 'select n from t'",
    check=("sqlite3 -cmd '.timeout 9000' /data/db 'pragma integrity_check'", "ok"),
)
POSTGRES = Database(
    name="postgres",
    programs=tuple(f"{_SQL}/{name}" for name in ("postgres", "initdb", "psql", "pg_amcheck")),
    folders=(
        f"{_SQL_VERSIONS}/{_SQL_VERSION}/lib",
        f"/usr/share/postgresql/{_SQL_VERSION}",
        "/usr/share/zoneinfo/Etc",
    ),
    begin=(
        "cd /; chown postgres /data; chmod 700 /data; "
        f"[ -s /data/PG_VERSION ] || su postgres -c '{_SQL}/initdb -D /data -A trust -E UTF8 --locale=C'; "
        "rm -f /data/postmaster.pid; "
        f"su postgres -c 'exec {_SQL}/postgres -D /data -k /tmp -h \"\"' & "
        f"until {_PSQL} -c 'create table if not exists t(n int primary key); create extension if not exists amcheck'; "
        "do sleep 0.2; done"
    ),
    largest=f"{_PSQL} -c 'select max(n) from t'",
    write=f'{_PSQL} -v ON_ERROR_STOP=1 -c "insert into t values($n)"',
    numbers=f"{_PSQL} -c 'select n from t'",
    check=(f"{_SQL}/pg_amcheck -h /tmp -U postgres --heapallindexed postgres && echo clean", "clean"),
)
DATABASES = (REDIS, SQLITE, POSTGRES)


def archive(databases: tuple[Database, ...]) -> bytes:
    """Return the images `NAME:lab` of databases, as `docker load` takes them."""
    busybox = shutil.which("busybox")
    missing = [each for database in databases for each in database.programs if not Path(each).exists()]
    if busybox is None or missing:
        raise LabError(
            f"apt-get install busybox-static redis-server sqlite3 postgresql: {', '.join(missing)} is missing"
        )
    shell = busybox_layer(Path(busybox))
    path = "PATH=/bin:/usr/bin"
    images = [Image(f"{each.name}:lab", (shell, _layer(each)), {"Env": [path], "Cmd": ["sh"]}) for each in databases]
    return docker_archive(images)


def _layer(database: Database) -> bytes:
    """Return programs with the libraries that they need, at the paths that they have here."""
    paths = {Path(each) for each in database.programs}
    paths |= {file for folder in database.folders for file in Path(folder).rglob("*") if file.is_file()}
    for program in database.programs:
        said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        paths |= {Path(word) for word in said.split() if word.startswith("/")}
    files = {str(path).lstrip("/"): path.read_bytes() for path in sorted(paths)}
    users = f"root:x:0:0:root:/root:/bin/sh\npostgres:x:{_POSTGRES_USER}:{_POSTGRES_USER}::/tmp:/bin/sh\n"
    return tar_of(
        {**files, "etc/passwd": users.encode(), "etc/group": f"root:x:0:\npostgres:x:{_POSTGRES_USER}:\n".encode()}
    )
