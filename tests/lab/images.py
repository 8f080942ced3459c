"""Images made of what is on this machine, without a registry and without an engine.

`busybox:lab` holds Debian's static busybox; `web:lab` adds a small web server (web.c). Both are written as one
`docker save` archive, kept in tests/lab/.cache under a name made from all that went into it.
"""

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError

_HERE = Path(__file__).parent
CACHE = _HERE / ".cache"
_WEB_SOURCE = _HERE / "web.c"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image to be written: its layers as tar files, its run configuration as the Docker API has it."""

    tag: str
    layers: tuple[bytes, ...]
    config: dict[str, object]


def image_archive() -> Path:
    """Return the archive with the lab's images, as `docker load` takes it; make it if it is not there yet."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("no busybox on this machine: apt-get install busybox-static")
    ingredients = (Path(busybox), _WEB_SOURCE, Path(__file__))
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in ingredients)).hexdigest()[:16]
    archive = CACHE / f"images-{digest}.tar"
    if not archive.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as whole:
            whole.write(docker_archive(lab_images(Path(busybox))))
        Path(whole.name).rename(archive)
    return archive


def lab_images(busybox: Path) -> list[Image]:
    shell = busybox_layer(busybox)
    web = tar_of({"web": _compile(_WEB_SOURCE)})
    path = "PATH=/bin:/"
    return [
        Image("busybox:lab", (shell,), {"Cmd": ["sh"], "Env": [path]}),
        Image("web:lab", (shell, web), {"Cmd": ["/web"], "Env": [path], "ExposedPorts": {"80/tcp": {}}}),
    ]


def docker_archive(images: list[Image]) -> bytes:
    """Write images as `docker save` does (image specification v1.2: manifest.json, a config and layers)."""
    files: dict[str, bytes] = {}
    manifest = []
    for image in images:
        names = [f"{_sha256(layer)}.tar" for layer in image.layers]
        files |= dict(zip(names, image.layers, strict=True))
        config = json.dumps(_image_config(image)).encode()
        files[f"{_sha256(config)}.json"] = config
        manifest.append({"Config": f"{_sha256(config)}.json", "RepoTags": [image.tag], "Layers": names})
    return tar_of({**files, "manifest.json": json.dumps(manifest).encode()})


def _image_config(image: Image) -> dict[str, object]:
    machine = platform.machine()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_sha256(layer)}" for layer in image.layers]},
        "history": [{"created_by": "tests.lab.images"} for _ in image.layers],
    }


def busybox_layer(busybox: Path) -> bytes:
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    links = {f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
    files = {"bin/busybox": busybox.read_bytes(), "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"}
    return tar_of({**files, "etc/group": b"root:x:0:\n"}, links=links, folders=("root", "tmp", "var"))


def _compile(source: Path) -> bytes:
    """Compile a C program into one that needs no files beside it."""
    if shutil.which("gcc") is None:
        raise LabError("no gcc on this machine: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program"
        flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-s")
        done = subprocess.run(["gcc", *flags, "-o", program, source], check=False, capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"gcc cannot compile {source}:\n{done.stderr}")
        return program.read_bytes()


def tar_of(files: dict[str, bytes], links: dict[str, str] | None = None, folders: tuple[str, ...] = ()) -> bytes:
    """Return a tar of executable files, symbolic links and folders that anyone may write, the same every time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in folders:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return out.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
