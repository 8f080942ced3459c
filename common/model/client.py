"""Clients of the API: their roles, and the certificates and tokens that were made for them."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from common.model.naming import Object


class Role(IntEnum):
    """What a client may do; each role may all that a lesser one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        """The role as users write it."""
        return self.name.lower()

    @property
    def unit(self) -> str:
        """The role as the organisational unit of a certificate has it."""
        return f"swarm-{self.label}"


ROLES_BY_LABEL = {role.label: role for role in Role}
ROLES_BY_UNIT = {role.unit: role for role in Role}


class Forbidden(StrEnum):
    """What an operator may be forbidden, each a way from a container to its host (docs/security.md)."""

    PRIVILEGED = "privileged"
    HOST_MOUNTS = "host-mounts"
    HOST_NAMESPACES = "host-namespaces"
    DEVICES = "devices"
    CAPABILITIES = "capabilities"
    UNCONFINED = "unconfined"


class Credential(Object):
    """What a client shows. Only one that has a record here, not revoked, is worth anything.

    `role` is a role's label; `forbidden` is what an operator may not do (`Forbidden`); `not_after` and `revoked_at` are
    Unix seconds (0: it is not revoked); `issued_by` and `revoked_by` name who did it.
    """

    name: str = ""
    role: str = ""
    forbidden: tuple[str, ...] = ()
    not_after: float = 0.0
    issued_by: str = ""
    revoked_at: float = 0.0
    revoked_by: str = ""

    def is_valid(self, now: float) -> bool:
        """Whether it is neither revoked nor expired; `now` in Unix seconds."""
        return not self.revoked_at and self.not_after >= now


class DashboardToken(Credential):
    """A token that opens the shared dashboard.

    `id` is part of the token, `digest` the SHA-256 of its secret part, in hexadecimal.
    """

    digest: str = ""


class ClientCertificate(Credential):
    """A client's certificate; its key is nowhere.

    `id` is the serial number in hexadecimal, as OpenSSL prints it in lower case; `environment` lets a viewer see the
    values of environment variables.
    """

    environment: bool = False
