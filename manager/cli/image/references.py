"""Image references: `nginx`, `registry.example:5000/team/app:1.2@sha256:…` (the grammar of distribution/reference)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

HUB = "docker.io"
_OFFICIAL = "library/"
_TAG = re.compile(r"\w[\w.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")


@dataclass(frozen=True, slots=True)
class Image:
    """A reference in parts; `path` has the `library/` that Docker Hub's official images leave out."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference.

        Raises:
            ValueError: it is none.

        """
        rest, _, digest = text.partition("@")
        if digest and not _DIGEST.fullmatch(digest):
            raise ValueError(f"invalid reference format: {text!r} has a malformed digest")
        registry, rest = _split_registry(rest)
        path, _, tag = rest.partition(":")
        if not _PATH.fullmatch(path) or (":" in rest and not _TAG.fullmatch(tag)):
            raise ValueError(f"invalid reference format: {text!r} is not an image name")
        if registry == HUB and "/" not in path:
            path = _OFFICIAL + path
        return cls(registry, path, tag, digest)

    @property
    def name(self) -> str:
        """The name without tag and digest, as people write it: without Docker Hub's name and `library/`."""
        return f"{self.registry}/{self.path}" if self.registry != HUB else self.path.removeprefix(_OFFICIAL)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def pinned(self, digest: str) -> Image:
        """Name exactly this content; a reference without a tag gets `latest`, as the engine would take it."""
        return replace(self, tag=self.tag or "latest", digest=digest)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return (HUB if first == "index.docker.io" else first), rest
    return HUB, text


def short_name(text: str) -> str:
    """Shorten an image for a table: a digest is left out when there is a tag."""
    try:
        image = Image.parse(text)
    except ValueError:
        return text
    return str(replace(image, digest="")) if image.tag else text
