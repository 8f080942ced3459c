"""An image's archive on its way between two engines: checked as it passes, with layers left out. Pure.

Memory does not grow with the image: layers pass through.

It is a tar as `docker save` writes it. Nothing but the one image that was asked for gets through to an engine: no other
names, links or files, and no name tags, which a source could use to put its own image in the place of another. The end
of the archive is passed on only when all that engines may take the image from has led to one configuration, and the
image's id is a digest on that way: an engine never acts on an archive that is wrong or cut short. Layers are checked by
the engine, against the configuration.

An engine of its own image store goes from `manifest.json` to the configuration, whose digest is the image's id. One
with containerd's goes from `index.json` to a manifest, or an index of some, whose digest is the id, and from there to
the configuration.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Collection
from typing import Any

from common.errors import InvalidArgument
from worker.intake.identifiers import quote_foreign

BLOCK = 512
_END = bytes(2 * BLOCK)
# Bytes of manifests and configurations, all together: real ones have a few KiB, and registries take no larger ones.
_MAX_TEXT = 4 * 1024 * 1024
_MAX_PAX = 64 * 1024
# Files and folders; images have at most 127 layers, and engines write at most four for each.
_MAX_MEMBERS = 4096

_FOLDER = re.compile(r"blobs/?|blobs/sha256/?|[0-9a-f]{64}/?")
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})|([0-9a-f]{64})\.json")
_FILE = re.compile(
    r"blobs/sha256/[0-9a-f]{64}|manifest\.json|index\.json|oci-layout|repositories"
    r"|[0-9a-f]{64}\.json|[0-9a-f]{64}/(layer\.tar|json|VERSION)"
)
_LINK = re.compile(r"[0-9a-f]{64}/layer\.tar")
_LINK_TARGET = re.compile(r"\.\./[0-9a-f]{64}/layer\.tar")
_PAX_HARMLESS = re.compile(r"[acm]time|uid|gid|uname|gname")
_NAMING = frozenset({"io.containerd.image.name", "org.opencontainers.image.ref.name"})


class WrongImage(InvalidArgument):
    """What was sent is not the image that was asked for."""


class ImageTar:
    """The archive of `image_id` (`sha256:…`). `leave_out` are the digests of layers that the receiver has."""

    def __init__(self, image_id: str, leave_out: Collection[str] = ()) -> None:
        digest = image_id.removeprefix("sha256:")
        self.ended = False
        self._digest = digest
        self._room = _MAX_TEXT
        self._left_out = frozenset(f"blobs/sha256/{layer.removeprefix('sha256:')}" for layer in leave_out)
        self._seen: set[str] = set()
        self._texts: dict[str, bytes] = {}
        self._header = bytearray()
        self._pax_blocks: list[bytes] = []
        self._pax: dict[str, str] = {}
        # The member that is being read: its name, its content so far if it is kept, what is left of it with padding.
        self._name = ""
        self._text: bytearray | None = None
        self._size = 0
        self._left = 0
        self._passes = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes of the archive; return those to pass on.

        Raises:
            WrongImage: it is not the archive of this image alone.

        """
        out: list[bytes] = []
        rest = memoryview(data)
        while rest and not self.ended:
            if self._left:
                piece, rest = rest[: self._left], rest[self._left :]
                self._content(bytes(piece), out)
            else:
                missing = BLOCK - len(self._header)
                self._header += rest[:missing]
                rest = rest[missing:]
                if len(self._header) == BLOCK:
                    block = bytes(self._header)
                    self._header.clear()
                    self._member(block, out)
        return out

    # --- the tar format -----------------------------------------------------------------------------------------------

    def _member(self, block: bytes, out: list[bytes]) -> None:
        if not any(block):
            self._check()
            self.ended = True
            out.append(_END)
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise WrongImage(f"not a tar archive: {quote_foreign(str(error))}") from error
        if info.type == tarfile.XHDTYPE:
            self._begin("", info.size, _MAX_PAX)
            self._pax_blocks.append(block)
            return
        name, size = self._pax.get("path", info.name), int(self._pax.get("size", info.size))
        self._judge(info, name, size)
        self._passes = name != "repositories" and name not in self._left_out
        if self._passes:
            out += [*self._pax_blocks, block]
        self._pax, self._pax_blocks = {}, []
        kept = name in ("manifest.json", "index.json") or (_BLOB.fullmatch(name) and size <= self._room)
        self._begin(name, size, _MAX_TEXT if kept else None)

    def _begin(self, name: str, size: int, keep: int | None) -> None:
        """Begin a member; with `keep` its content is kept and may have so many bytes."""
        if size < 0 or (keep is not None and size > keep):
            wrong = "too large" if size > 0 else "a negative size"
            raise WrongImage(f"{quote_foreign(name) if name else 'a header'} of {size} bytes is {wrong}")
        self._name = name
        self._text = None if keep is None else bytearray()
        self._size = size
        self._left = -(-size // BLOCK) * BLOCK
        if not self._left:
            self._finish()

    def _content(self, piece: bytes, out: list[bytes]) -> None:
        self._left -= len(piece)
        if not self._text and _BLOB.fullmatch(self._name) and not piece.startswith(b"{"):
            self._text = None  # a layer
        if self._text is not None:
            self._text += piece
        if not self._name:
            self._pax_blocks.append(piece)
        elif self._passes:
            out.append(piece)
        if not self._left:
            self._finish()

    def _finish(self) -> None:
        if self._text is None:
            return
        text = bytes(self._text[: self._size])
        self._text = None
        if self._name:
            self._texts[self._name] = text
            self._room -= len(text)
        else:
            self._pax = _read_pax(text)

    # --- the image ----------------------------------------------------------------------------------------------------

    def _judge(self, info: tarfile.TarInfo, name: str, size: int) -> None:
        """Refuse an entry that does not belong in an image."""
        regular = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and _FILE.fullmatch(name)
        folder = info.type == tarfile.DIRTYPE and not size and _FOLDER.fullmatch(name)
        link = info.type == tarfile.SYMTYPE and _LINK.fullmatch(name) and _LINK_TARGET.fullmatch(info.linkname)
        if not (regular or folder or (link and not size)) or size < 0:
            raise WrongImage(f"the archive has {quote_foreign(name)}, which belongs to no image")
        key = name.rstrip("/")
        if key in self._seen:
            raise WrongImage(f"the archive has {quote_foreign(name)} twice")
        self._seen.add(key)
        if len(self._seen) > _MAX_MEMBERS:
            raise WrongImage(f"the archive has more than {_MAX_MEMBERS} files, which no image has")

    def _check(self) -> None:
        manifest = self._json("manifest.json", list)
        if len(manifest) != 1 or not isinstance(manifest[0], dict):
            raise WrongImage(f"the archive holds {len(manifest)} images, not one")
        entry: dict[str, Any] = manifest[0]
        if entry.get("RepoTags"):
            raise WrongImage(f"the archive gives names to the image: {quote_foreign(str(entry['RepoTags']))}")
        config = self._blob(str(entry.get("Config")))
        top = self._top() if "index.json" in self._texts else config
        if self._digest not in (config, top):
            raise WrongImage(f"the archive holds the image {config}, not {quote_foreign(self._digest)}")
        if top != config and config not in self._configs_of(top, deep=top == self._digest):
            raise WrongImage(f"the archive's index leads to another image than {config}")

    def _top(self) -> str:
        """Return the digest of the only entry of the index, which must have no name."""
        found = _descriptors(self._json("index.json", dict))
        if len(found) != 1:
            raise WrongImage(f"the archive's index names {len(found)} images, not one")
        if any(name in (found[0].get("annotations") or ()) for name in _NAMING):
            raise WrongImage("the archive's index gives names to the image")
        return _digest_of(found[0])

    def _configs_of(self, digest: str, *, deep: bool) -> set[str]:
        """Return the configurations of a manifest; `deep`: or of those that an index names and that are here."""
        name = f"blobs/sha256/{digest}"
        self._blob(name)
        document = self._json(name, dict)
        if not deep or "config" in document:
            return {_digest_of(document.get("config"))}
        children = dict.fromkeys(map(_digest_of, _descriptors(document)))
        here = [child for child in children if f"blobs/sha256/{child}" in self._texts]
        return {config for child in here for config in self._configs_of(child, deep=False)}

    def _blob(self, name: str) -> str:
        """Return the digest in a small file's name, which must be that of its content."""
        found = _BLOB.fullmatch(name)
        digest = found and (found[1] or found[2])
        if not digest or hashlib.sha256(self._texts.get(name, b"")).hexdigest() != digest:
            raise WrongImage(
                f"{quote_foreign(name)} is not in the archive, or does not have the digest that it is named by"
            )
        return digest

    def _json(self, name: str, kind: type) -> Any:
        try:
            value = json.loads(self._texts[name])
        except KeyError:
            raise WrongImage(f"the archive has no {quote_foreign(name)}") from None
        except (ValueError, RecursionError) as error:
            raise WrongImage(f"{quote_foreign(name)} is not JSON: {quote_foreign(str(error))}") from error
        if not isinstance(value, kind):
            raise WrongImage(f"{quote_foreign(name)} is not what an image has")
        return value


def _descriptors(index: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an OCI index names."""
    found = index.get("manifests")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _digest_of(descriptor: Any) -> str:
    """Return the digest, without `sha256:`, of what an OCI descriptor names; empty if it names nothing."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else ""
    return digest.removeprefix("sha256:") if isinstance(digest, str) else ""


def _read_pax(text: bytes) -> dict[str, str]:
    """Read a member's extended header (POSIX.1-2001): `LENGTH KEY=VALUE` lines. Only name and size matter here."""
    found: dict[str, str] = {}
    while text:
        head, _, _ = text.partition(b" ")
        length = int(head) if head.isdigit() and len(head) < 6 else 0
        record, text = text[:length], text[length:]
        key, equals, value = record[len(head) + 1 : -1].decode(errors="replace").partition("=")
        if not equals or not record.endswith(b"\n"):
            raise WrongImage("a malformed extended header")
        if key == "path" or (key == "size" and value.isdecimal() and len(value) < 20):
            found[key] = value
        elif not _PAX_HARMLESS.fullmatch(key):
            raise WrongImage(f"an extended header with {quote_foreign(key)}, which no image needs")
    return found
