"""A service's `volumes` and `tmpfs` as mounts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from common.model.container import BindOptions, DriverConfig, Mount, TmpfsOptions, VolumeOptions
from common.text.quantities import parse_size
from manager.cli.compose.config import Tree
from manager.cli.compose.convert_extensions import mount_labels, volume_labels
from manager.cli.compose.errors import KeyPath
from manager.cli.compose.references import Scope

_OCTAL = re.compile(r"[0-7]{1,4}")
# Which of the option sections a type of mount may have.
_SECTIONS = {"volume": "volume", "bind": "bind", "npipe": "bind", "tmpfs": "tmpfs"}


def mounts(scope: Scope, at: KeyPath, service: Tree) -> tuple[Mount, ...]:
    """All mounts of a service. `tmpfs`, which `docker stack deploy` passes over in silence, is honoured here."""
    volumes = [_mount(scope, (*at, "volumes", index), entry) for index, entry in enumerate(service.get("volumes", []))]
    memory = [_tmpfs(scope, (*at, "tmpfs"), entry) for entry in service.get("tmpfs", [])]
    return (*volumes, *memory)


def _mount(scope: Scope, at: KeyPath, entry: Tree) -> Mount:
    kind = entry["type"]
    for section in ("bind", "volume", "tmpfs"):
        if section in entry and section != _SECTIONS[kind]:
            raise scope.config.error((*at, section), f"{section} options mean nothing for a mount of type {kind}")
    source = entry.get("source", "")
    if kind == "tmpfs" and source:
        raise scope.config.error((*at, "source"), "a tmpfs mount has no source")
    if kind == "npipe" and not source:
        raise scope.config.error(at, "an npipe mount needs a source")
    options: VolumeOptions | None = None
    own = mount_labels(scope, at, entry)
    if own and not (kind == "volume" and source):
        raise scope.config.error(at, f"{', '.join(own)} is of mounts of volumes that have a name")
    if kind == "volume" and source:
        options = _volume_options(scope, entry, own)
        source = scope.lookup("volumes", source, (*at, "source"))
    return Mount(
        type=kind,
        source=source,
        target=entry["target"],
        read_only=entry.get("read_only", False),
        consistency=entry.get("consistency", ""),
        bind_options=_bind_options(entry["bind"]) if "bind" in entry else None,
        volume_options=options,
        tmpfs_options=_tmpfs_options(entry["tmpfs"]) if "tmpfs" in entry else None,
    )


def _bind_options(tree: Tree) -> BindOptions:
    recursive = tree.get("recursive", "")
    return BindOptions(
        propagation=tree.get("propagation", ""),
        create_mountpoint=tree.get("create_host_path", False),
        non_recursive=recursive == "disabled",
        read_only_non_recursive=recursive == "writable",
        read_only_force_recursive=recursive == "readonly",
    )


def _tmpfs_options(tree: Tree) -> TmpfsOptions:
    return TmpfsOptions(size_bytes=tree.get("size", 0), mode=tree.get("mode", 0))


def _volume_options(scope: Scope, entry: Tree, own: Mapping[str, str]) -> VolumeOptions:
    """Options of a named volume; an external one is somebody else's and takes neither labels nor driver from here."""
    given = entry.get("volume", {})
    no_copy, subpath = given.get("nocopy", False), given.get("subpath", "")
    declared = scope.config.volumes.get(entry["source"], {})
    if declared.get("external"):
        return VolumeOptions(no_copy=no_copy, subpath=subpath, labels=dict(own))
    driver, options = declared.get("driver", ""), declared.get("driver_opts", {})
    return VolumeOptions(
        no_copy=no_copy,
        subpath=subpath,
        labels={**scope.labels(declared), **volume_labels(scope, entry["source"], declared), **own},
        driver_config=DriverConfig(name=driver, options=options) if driver or options else None,
    )


def _tmpfs(scope: Scope, at: KeyPath, text: str) -> Mount:
    """Read `PATH[:OPTION,…]`: `size=` and `mode=` (octal) are the mount's own, others go to the kernel as they are."""
    target, _, rest = text.partition(":")
    size, permissions, others = 0, 0, []
    for option in filter(None, rest.split(",")):
        name, _, value = option.partition("=")
        if name == "size":
            try:
                size = parse_size(value)
            except ValueError as error:
                raise scope.config.error(at, f'in "{text}": {error}') from None
        elif name == "mode":
            if not _OCTAL.fullmatch(value):
                raise scope.config.error(at, f'in "{text}": mode is a number in octal, such as 1777')
            permissions = int(value, 8)
        else:
            others.append((name, value) if value else (name,))
    options = TmpfsOptions(size_bytes=size, mode=permissions, options=tuple(others)) if rest else None
    return Mount(type="tmpfs", target=target, tmpfs_options=options)
