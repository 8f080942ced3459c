"""`swarm-manager client-cert`: certificates with which docker's command line reaches the API over TCP."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from common.clock import parse_rfc3339, to_the_second
from common.errors import AlreadyExists, Unavailable
from common.model.client import Forbidden, Role
from common.process.launch import MANAGER_HOST
from common.text.quantities import human_duration, parse_duration
from common.text.terminal import echo
from common.tls import browsers_file, certificate_request, new_key
from manager.cli.client import Client
from manager.cli.command import SwarmCommand, SwarmGroup, flag, invalid
from manager.cli.format.listing import format_flag, quiet_flag
from manager.cli.format.tables import Row, Table, natural, short_id
from manager.cli.session import with_client
from manager.cli.several import print_each

CREATE = "create"
# Named as docker wants them.
FILES = ("ca.pem", "cert.pem", "key.pem")
BROWSERS = "browser.p12"
# What files are called until all that replace others are there.
_NEW = ".new"
_SERVE = f"swarm-manager start -H {MANAGER_HOST} -H tcp://0.0.0.0:2376"
TABLE = Table(
    columns=("{{.Serial}}", "{{.Name}}", "{{.Role}}", "{{.Forbidden}}", "{{.Status}}", "{{.IssuedBy}}"),
    headings={
        "ID": "ID",
        "Serial": "SERIAL",
        "Name": "NAME",
        "Role": "ROLE",
        "Forbidden": "FORBIDDEN",
        "Status": "STATUS",
        "IssuedBy": "ISSUED BY",
        "RevokedBy": "REVOKED BY",
    },
)


class CertificateGroup(SwarmGroup):
    """A group in which `client-cert NAME` is short for `client-cert create NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in ctx.help_option_names and self.get_command(ctx, args[0]) is None:
            args = [CREATE, *args]
        return super().parse_args(ctx, args)


class LifetimeType(click.ParamType):  # type: ignore[type-arg]  # generic in new click only
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except ValueError:
            self.fail(invalid(str(value), param, "expected a duration such as 720h"), param, ctx)


class ForbiddenType(click.ParamType):  # type: ignore[type-arg]  # generic in new click only
    name = "words"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        words = [*Forbidden] if value == "all" else [word.strip() for word in str(value).split(",")]
        for word in words:
            if word not in {*Forbidden}:
                self.fail(invalid(word, param, f"expected some of {', '.join(Forbidden)}, or all"), param, ctx)
        return tuple(words)


def forbid_flag(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that makes a credential its --forbid, of which it gets the words, each once."""

    def words_of(_: click.Context, __: click.Parameter, given: Sequence[Sequence[str]]) -> list[str]:
        return sorted({word for words in given for word in words})

    made: Callable[..., Any] = flag(
        "--forbid",
        type=ForbiddenType(),
        multiple=True,
        callback=words_of,
        metavar="WORD[,WORD...]",
        help=f"What an operator may not do, of {', '.join(Forbidden)}, or all.",
    )(command)
    return made


@click.group(
    "client-cert",
    cls=CertificateGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def client_cert() -> None:
    """Make, list and revoke certificates for clients of the API: `client-cert NAME` makes one."""


@client_cert.command(
    CREATE,
    cls=SwarmCommand,
    examples="""
    swarm-manager client-cert alice --role admin
    swarm-manager client-cert create alice --role admin
    swarm-manager client-cert ci --role operator --forbid all
    swarm-manager client-cert prometheus --role viewer --out viewer --replace
    swarm-manager client-cert dashboard --role viewer --ttl 8760h --out /etc/dashboard/docker
    """,
)
@click.argument("name")
@flag(
    "--role",
    type=click.Choice([role.label for role in reversed(Role)]),
    default=Role.OPERATOR.label,
    show_default=True,
    help="What its owner may do.",
)
@flag("--ttl", type=LifetimeType(), default="720h", show_default=True, help="How long it is valid.")
@flag("--env", is_flag=True, default=False, help="Show a viewer the values of environment variables.")
@forbid_flag
@flag("--p12", is_flag=True, default=False, help=f"Make {BROWSERS} too, which browsers import.")
@flag("--out", type=click.Path(path_type=Path), metavar="DIR", help="Directory for the files (default: NAME).")
@flag("--replace", is_flag=True, default=False, help="Take the place of the files that are there.")
@with_client
async def create(
    client: Client,
    /,
    name: str,
    *,
    role: str,
    ttl: int,
    env: bool,
    forbid: list[str],
    p12: bool,
    out: Path | None,
    replace: bool,
) -> None:
    """Make a certificate: ca.pem, cert.pem and key.pem, as DOCKER_CERT_PATH wants them.

    The key is made here and sent to nobody. Use --replace to renew a certificate, or to have one of a new root.
    """
    directory = (out or Path(name)).absolute()
    key = await asyncio.to_thread(new_key)
    order = {"Name": name, "Role": role, "Lifetime": ttl, "Environment": env, "Forbidden": forbid}
    suffix = _NEW if replace else ""
    with _reserve_files(directory, key, suffix):
        answer = await client.post(
            "/swarm/client-certificates/create", {**order, "CertificateRequest": certificate_request(key).decode()}
        )
        _write(directory / f"cert.pem{suffix}", answer["Certificate"].encode(), 0o644)
        _write(directory / f"ca.pem{suffix}", answer["CA"].encode(), 0o644)
        password = secrets.token_urlsafe(12) if p12 else ""
        if p12:
            certificate, root = answer["Certificate"].encode(), answer["CA"].encode()
            _write(directory / f"{BROWSERS}{suffix}", browsers_file(name, key, certificate, root, password), 0o600)
        for new in (directory / f"{each}{_NEW}" for each in (*FILES, BROWSERS)):
            if new.exists():
                new.replace(new.with_suffix(""))
    echo(how_to_use(answer, name, role, directory))
    if p12:
        echo(f"\n{in_a_browser(answer, directory, password)}")


@contextmanager
def _reserve_files(directory: Path, key: bytes, suffix: str) -> Iterator[None]:
    """Write the key first, where no other files are; when no certificate comes of it, nothing new is left."""
    files = [directory / f"{name}{suffix}" for name in (*FILES, BROWSERS)]
    for each in files:
        if each.exists():
            advice = "remove it" if suffix else "give another directory with --out, or renew it with --replace"
            raise AlreadyExists(f"{each} exists already: {advice}")
    made = not directory.exists()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        _write(directory / f"key.pem{suffix}", key, 0o600)
        yield
    except BaseException as error:
        for each in files:
            each.unlink(missing_ok=True)
        if made:
            directory.rmdir()
        if isinstance(error, OSError):
            raise _unwritable(directory, error) from error
        raise


def _unwritable(directory: Path, error: OSError) -> Unavailable:
    return Unavailable(f"cannot write to {directory}: {error.strerror}")


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def how_to_use(answer: Any, name: str, role: str, directory: Path) -> str:
    """Word what was made, and what to tell docker so that it uses it."""
    hosts = answer["Hosts"]
    valid_until = to_the_second(parse_rfc3339(answer["NotAfter"]))
    lines = [
        f"Certificate {short_id(answer['ID'])} of {name} ({role}) is in {directory}, valid until {valid_until}.",
        "",
        "To use it:",
        "",
        f"    export DOCKER_HOST={hosts[0] if hosts else 'tcp://HOST:2376'}",
        f"    export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={directory}",
    ]
    if not hosts:
        lines += [
            "",
            "This manager's API is not served over TCP yet. On its host, this serves it there, too:",
            "",
            f"    {_SERVE}",
        ]
    return "\n".join(lines)


def in_a_browser(answer: Any, directory: Path, password: str) -> str:
    """Say what to do with the file for browsers. Its password is nowhere else."""
    host = answer["Hosts"][0].removeprefix("tcp://") if answer["Hosts"] else "HOST:2376"
    return (
        f"For the dashboard in a browser: import {directory / BROWSERS}, password {password}, and trust\n"
        f"{directory / 'ca.pem'} for web sites; then open https://{host}/dashboard/"
    )


@client_cert.command("ls", cls=SwarmCommand, aliases=("list",), examples="swarm-manager client-cert ls")
@format_flag()
@quiet_flag("Only display serial numbers.")
@with_client
async def ls(client: Client, /, *, layout: str, quiet: bool) -> None:
    """List the certificates that were made, and what became of them."""
    found = await client.get("/swarm/client-certificates")
    found.sort(key=lambda each: (natural(each["Name"]), each["CreatedAt"]))
    now = time.time()
    echo(TABLE.render([row(each, now) for each in found], layout, quiet=quiet), nl=False)


def row(each: Any, now: float) -> Row:
    return {
        "ID": each["ID"],
        "Serial": short_id(each["ID"]),
        "Name": each["Name"],
        "Role": each["Role"],
        "Forbidden": ",".join(each.get("Forbidden") or ()),
        "Status": status_of(each, now),
        "IssuedBy": each["IssuedBy"],
        "RevokedBy": each["RevokedBy"],
    }


def status_of(each: Any, now: float) -> str:
    """Say what became of a certificate or a token."""
    if revoked := parse_rfc3339(each["RevokedAt"]):
        return f"Revoked {human_duration(now - revoked)} ago"
    left = parse_rfc3339(each["NotAfter"]) - now
    return f"Valid for {human_duration(left)}" if left > 0 else f"Expired {human_duration(-left)} ago"


@client_cert.command(
    cls=SwarmCommand,
    aliases=("rm", "remove"),
    examples="""
    swarm-manager client-cert revoke alice
    swarm-manager client-cert revoke 3fa94c01
    """,
)
@click.argument("references", metavar="NAME|SERIAL...", nargs=-1, required=True)
@with_client
async def revoke(client: Client, /, references: tuple[str, ...]) -> None:
    """Make certificates worthless, at once: all of a name, or the one with a serial number."""

    async def one(reference: str) -> list[str]:
        revoked = await client.delete(f"/swarm/client-certificates/{reference}")
        return [f"{short_id(each['ID'])} {each['Name']}" for each in revoked]

    await print_each(references, one)
