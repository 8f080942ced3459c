"""Where the API is: `unix://PATH`, `ssh://HOST` or `tcp://HOST:PORT`, with TLS where there are certificates.

Where there are several managers, an address may be several, with commas between them.

The user's own ssh brings the manager's socket on another host here: `ssh://[USER@]HOST[:PORT][/PATH]`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import InvalidArgument
from common.process.launch import MANAGER_HOST
from manager.cli.failures import CannotConnect

SSH = "ssh://"
_PLAIN_PORT = 2375
_TLS_PORT = 2376


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address as the user gave it, and the directory with ca.pem, cert.pem and key.pem (None: no TLS).

    `tunnel` is the socket here of one that is behind ssh.
    """

    url: str
    certificates: Path | None = None
    tunnel: str = ""

    @property
    def candidates(self) -> tuple[Endpoint, ...]:
        """The endpoints that the address names: one, or several with commas between them.

        Raises:
            InvalidArgument: one has another form, or is behind ssh, which is not tried on chance.

        """
        urls = [url.strip() for url in self.url.split(",") if url.strip()]
        if len(urls) < 2:
            return (self,)
        found = tuple(replace(self, url=url) for url in urls)
        for each in found:
            if each.url.startswith(SSH):
                raise InvalidArgument(f"{each.url} cannot be one of several addresses: use unix:// and tcp:// ones")
            _ = each.base
        return found

    @property
    def socket(self) -> str | None:
        """The path of the unix socket, None for a TCP address."""
        if self.tunnel:
            return self.tunnel
        scheme, _, rest = self.url.partition("://")
        return rest if scheme == "unix" else None

    @property
    def base(self) -> str:
        """What paths of the API are appended to.

        Raises:
            InvalidArgument: the address has another form.

        """
        if self.socket:
            return "http://manager"
        try:
            parts = urlsplit(self.url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
            host.encode("idna")  # as the resolver is asked
        except ValueError:
            scheme, host, port = "", "", None
        if scheme not in ("tcp", "http", "https") or not host:
            raise InvalidArgument(
                f"invalid address {self.url!r}: write it as unix:///run/swarm-manager/docker.sock, ssh://HOST or tcp://HOST:PORT"
            )
        name = f"[{host}]" if ":" in host else host
        if self.certificates or scheme == "https":
            return f"https://{name}:{port or _TLS_PORT}"
        return f"http://{name}:{port or _PLAIN_PORT}"

    def tls(self) -> ssl.SSLContext:
        """Trust what the certificates say; without any, what this machine trusts.

        Raises:
            InvalidArgument: they cannot be used.

        """
        if self.certificates is None:
            return ssl.create_default_context()
        try:
            context = ssl.create_default_context(cafile=self.certificates / "ca.pem")
            context.load_cert_chain(self.certificates / "cert.pem", self.certificates / "key.pem")
        except OSError as error:
            raise InvalidArgument(
                f"cannot use the certificates in {self.certificates}: {_what_is_wrong(self.certificates, error)}; "
                "`swarm-manager client-cert` on the manager's host makes such a directory"
            ) from error
        return context


def _what_is_wrong(certificates: Path, error: OSError) -> str:
    if not isinstance(error, FileNotFoundError):
        return error.strerror or str(error)
    missing = [name for name in ("ca.pem", "cert.pem", "key.pem") if not (certificates / name).exists()]
    return f"there is no {', no '.join(missing)}"


@asynccontextmanager
async def reached(endpoint: Endpoint) -> AsyncIterator[Endpoint]:
    """Yield the endpoint as it can be connected to; one behind ssh has its socket here for as long.

    Raises:
        InvalidArgument: its address names no host.
        CannotConnect: ssh does not get there.

    """
    if not endpoint.url.startswith(SSH):
        yield endpoint
        return
    import tempfile  # noqa: PLC0415 - it brings compression along, which other addresses do without

    target, remote = _parsed(endpoint.url)
    with tempfile.TemporaryDirectory(prefix="swarm-manager-") as folder:
        local, control = f"{folder}/docker.sock", f"{folder}/ssh"
        # It goes into the background when the socket is there; until then it may ask for a password.
        forward = ("-f", "-N", "-M", "-o", "ExitOnForwardFailure=yes", "-L", f"{local}:{remote}")
        if await _ssh(control, *forward, *target):
            raise CannotConnect(
                f"Cannot reach the manager at {endpoint.url}: ssh failed, and has said why.\nWhat is forwarded is the "
                f"socket {remote} there, which root may use, and who is in the group swarm."
            )
        try:
            yield replace(endpoint, tunnel=local)
        finally:
            await _ssh(control, "-q", "-O", "exit", *target)


def _parsed(url: str) -> tuple[tuple[str, ...], str]:
    """Return ssh's arguments for an address, and the socket that it means there."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(SSH), None
    if not parts.hostname or parts.hostname.startswith("-") or parts.password or (":" in parts.netloc and not port):
        raise InvalidArgument(f"invalid address {url!r}: write it as ssh://[USER@]HOST[:PORT]")
    options = (*(("-l", parts.username) if parts.username else ()), *(("-p", str(port)) if port else ()))
    path = parts.path if parts.path not in ("", "/") else MANAGER_HOST.removeprefix("unix://")
    return (*options, "--", parts.hostname), path


async def _ssh(control: str, *arguments: str) -> int:
    try:
        process = await asyncio.create_subprocess_exec("ssh", "-S", control, *arguments)
    except OSError as error:
        raise CannotConnect(
            f"Cannot run ssh: {error.strerror}: install it, or give a unix:// or tcp:// address"
        ) from error
    return await process.wait()
