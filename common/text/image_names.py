"""Image references, `nginx` or `registry.example:5000/team/app:1.2@sha256:…` (the grammar of distribution/reference).

A service's image that came from no registry is named by the id that it had when it was chosen, in the place of a
registry's digest: `web:1@sha256:ID`. So it stays the same image when the tag moves, as with a registry's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

HUB = "docker.io"
_OFFICIAL = "library/"
_TAG = re.compile(r"\w[\w.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_ID = re.compile(r"sha256:[0-9a-f]{64}")
_ID_PREFIX = re.compile(r"(sha256:)?[0-9a-f]{2,64}")
_DOMAINS = ("docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/", "library/")


def is_id_prefix(text: str) -> bool:
    """Whether a text may be the beginning of an image id, with or without `sha256:`; a name may look like one, too."""
    return _ID_PREFIX.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether a text is a whole image id, `sha256:` and 64 digits."""
    return _ID.fullmatch(text) is not None


def begins_with(image_id: str, beginning: str) -> bool:
    """Whether a text is a whole image id that begins so; the `sha256:` may be left out of the beginning."""
    return is_id(image_id) and image_id.removeprefix("sha256:").startswith(beginning.removeprefix("sha256:"))


def pinned_digest(reference: str) -> str:
    """Return the digest that a reference ends in, or the id that it is; empty when it names no content."""
    digest = reference.rpartition("@")[2]
    return digest if is_id(digest) else ""


def with_tag(reference: str) -> str:
    """Return a reference with its tag, `latest` when it has none; one with a digest, or an id, stays as it is."""
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def pin(reference: str, image_id: str) -> str:
    """Name exactly this image; a reference that is an id stays one."""
    return image_id if is_id(reference) else f"{with_tag(reference)}@{image_id}"


def repository(reference: str) -> str:
    """Return a reference without tag and digest, as engines shorten it: without Docker Hub's name and `library/`."""
    name, _ = split_tag(reference.partition("@")[0])
    for domain in _DOMAINS:
        if name.startswith(domain) and (domain != "library/" or name.count("/") == 1):
            return name.removeprefix(domain)
    return name


def familiar(reference: str) -> str:
    """Return a reference as docker's command line sends it: with a tag or digest, without Docker Hub's name."""
    name, at, digest = reference.partition("@")
    short = repository(name) + "".join(name.rpartition("/")[2].partition(":")[1:])
    return f"{short}@{digest}" if at else with_tag(short)


def full_name(reference: str) -> str:
    """Return a reference as names are kept: `repository:tag`, or `repository@digest` where it names a digest."""
    name, at, digest = reference.partition("@")
    return f"{repository(name)}@{digest}" if at else f"{repository(name)}:{with_tag(name).rpartition(':')[2]}"


def from_registry(reference: str, repo_digests: tuple[str, ...]) -> bool:
    """Whether a registry knows an image under the reference's name, as an image's `RepoDigests` tell."""
    wanted = repository(reference)
    return any(repository(digest) == wanted for digest in repo_digests)


def split_tag(name: str) -> tuple[str, str]:
    """Split a name into what is before its tag, and the tag, empty where it has none."""
    head, slash, last = name.rpartition("/")
    repo, _, tag = last.partition(":")
    return head + slash + repo, tag


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
