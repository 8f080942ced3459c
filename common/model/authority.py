"""What the cluster's members trust and are trusted by: the authority's root, and what managers pull images with."""

from __future__ import annotations

from common.model.meta import Object


class RootKey(Object):
    """The root of the cluster's certificate authority: its certificate and its private key, both PEM.

    There is one. It leaves the store for no client, log or backup in the clear.
    """

    id: str = "root"
    certificate: bytes = b""
    key: bytes = b""

    @property
    def name(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"RootKey(certificate=<{len(self.certificate)} bytes>, key=<hidden>)"


class RegistryLogin(Object):
    """The credentials for a service's pulls: the client's `X-Registry-Auth`, decoded JSON. Its id is the service's."""

    auth: str = ""

    @property
    def name(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"RegistryLogin(id={self.id!r}, auth=<hidden>)"
