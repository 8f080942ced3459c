"""Tar archives with members of any kind, and image archives as engines write them, and as nobody should."""

import hashlib
import io
import json
import tarfile
from typing import Any


def tar_of(*members: tuple[str, bytes, str]) -> bytes:
    """Make an archive of (name, type, text): a file's text is its content, a link's is where it leads."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, text
            info.size = len(text.encode()) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def descriptor(content: bytes, kind: str = "manifest") -> dict[str, Any]:
    media_type = f"application/vnd.oci.image.{kind}.v1+json"
    return {"mediaType": media_type, "digest": f"sha256:{sha256(content)}", "size": len(content)}


class Archive:
    """An image with these layers; `files` can be tampered with before it is written.

    image_id: what the engine's own store calls it; manifest_id: what containerd's does.
    legacy: as engines before Docker 25 write it.
    """

    def __init__(self, *layers: bytes, tags: list[str] | None = None, legacy: bool = False) -> None:
        self.layers = tuple(f"sha256:{sha256(layer)}" for layer in layers)
        config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": self.layers}}).encode()
        self.image_id = f"sha256:{sha256(config)}"
        folder = "" if legacy else "blobs/sha256/"
        ending, layer_ending = (".json", "/layer.tar") if legacy else ("", "")
        names = [f"{folder}{sha256(layer)}{layer_ending}" for layer in layers]
        self.config_name = f"{folder}{sha256(config)}{ending}"
        self.manifest: list[dict[str, Any]] = [{"Config": self.config_name, "RepoTags": tags, "Layers": names}]
        self.files: dict[str, bytes] = {self.config_name: config, **dict(zip(names, layers, strict=True))}
        if not legacy:
            tars = [descriptor(layer, "layer") for layer in layers]
            document = json.dumps({"config": descriptor(config, "config"), "layers": tars}).encode()
            self.manifest_id = self.add(document)
            self.index({**descriptor(document), "annotations": {"org.x": "y"}})
            self.files["oci-layout"] = b"{}"

    def add(self, document: bytes) -> str:
        """Add a blob; return its digest."""
        self.files[f"blobs/sha256/{sha256(document)}"] = document
        return f"sha256:{sha256(document)}"

    def index(self, *entries: dict[str, Any]) -> None:
        """Write what index.json names."""
        self.files["index.json"] = json.dumps({"manifests": entries}).encode()

    def members(self) -> list[tuple[tarfile.TarInfo, bytes]]:
        files = {**self.files, "manifest.json": json.dumps(self.manifest).encode()}
        found = []
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            found.append((info, content))
        if any(name.startswith("blobs/") for name in files):
            folder = tarfile.TarInfo("blobs/sha256")
            folder.type = tarfile.DIRTYPE
            found.insert(0, (folder, b""))
        return found

    def tar(self, layout: int = tarfile.USTAR_FORMAT, **pax: str) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=layout) as tar:
            for info, content in self.members():
                info.pax_headers = dict(pax)
                tar.addfile(info, io.BytesIO(content))
        return out.getvalue()
