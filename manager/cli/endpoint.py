"""Where the API is: `unix://PATH`, `ssh://HOST` or `tcp://HOST:PORT`, with TLS where there are certificates.

Where there are several managers, an address may be several, with commas between them.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import InvalidArgument

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
        parts = urlsplit(self.url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if parts.scheme not in ("tcp", "http", "https") or not host:
            raise InvalidArgument(
                f"invalid address {self.url!r}: write it as unix:///run/swarm-manager/docker.sock, ssh://HOST or tcp://HOST:PORT"
            )
        name = f"[{host}]" if ":" in host else host
        if self.certificates or parts.scheme == "https":
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
                f"cannot use the certificates in {self.certificates}: {error}; ca.pem, cert.pem and key.pem are needed"
            ) from error
        return context
