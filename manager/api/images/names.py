"""The names that images are shown by: those given by clients of the cluster, and single nodes' own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self, TypeAlias

from common.clock import rfc3339
from common.model import ImageName
from common.text.image_names import full_name, split_tag
from manager.api.engine.types import Image
from manager.api.images.own import NO_NAMES, domains, own_name
from manager.domain.image_use import pinned_references
from manager.store.view import View

Entry: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Naming:
    """The meaning of all names at one moment. `domains` are the nodes', `pinned` the references of services."""

    view: View
    domains: Mapping[str, str]
    pinned: frozenset[str]

    @classmethod
    def of(cls, view: View) -> Self:
        return cls(view, domains(view.nodes), pinned_references(view))

    def names(self, image_id: str) -> set[str]:
        """Return the names that clients gave to an image."""
        return {name.id for name in self.view.image_names.of_image(image_id) if "@" not in name.id}

    def own(self, node_id: str, image: Mapping[str, Any]) -> set[str]:
        """Return the shown form of the names that only a node's engine has for an image."""
        tags = (tag for tag in image.get("RepoTags") or () if tag not in NO_NAMES)
        strange = (tag for tag in tags if self._means(tag) != image["Id"])
        return {own for tag in strange if (own := own_name(self.domains.get(node_id, node_id), tag))}

    def _means(self, tag: str) -> str:
        name = self.view.image_names.get(full_name(tag))
        return name.image_id if name is not None else ""

    def digests(self, node_id: str, image: Mapping[str, Any]) -> set[str]:
        """Return an image's digests: those that a client has pulled, pushed or pinned; others as the node's own."""
        known = {each for name in self.view.image_names.of_image(image["Id"]) for each in name.repo_digests}
        said = {digest for digest in image.get("RepoDigests") or () if digest not in NO_NAMES}
        sure = {digest for digest in said if full_name(digest) in self.pinned}
        domain = self.domains.get(node_id, node_id)
        return known | sure | {own for each in said - sure - known if (own := own_name(domain, each))}

    def shown(self, node_id: str, image: Mapping[str, Any]) -> Entry:
        """Return what a node's engine says of an image, with the names that it has in the cluster."""
        tags = sorted(self.names(image["Id"]) | self.own(node_id, image))
        return {**image, "RepoTags": tags, "RepoDigests": sorted(self.digests(node_id, image))}

    def inspected(self, node_id: str, image: Mapping[str, Any]) -> Entry:
        """Like `shown`, for an inspected image, with who gave it its names."""
        given = [_name_entry(name) for name in self.view.image_names.of_image(image["Id"])]
        return {**self.shown(node_id, image), "ClusterNames": sorted(given, key=lambda each: each["Name"])}


def _name_entry(name: ImageName) -> dict[str, Any]:
    return {
        "Name": name.id,
        "How": name.how,
        "By": name.by,
        "At": rfc3339(name.updated_at),
        "NodeID": name.node_id,
        "Registry": name.registry,
    }


def has_name(image: Mapping[str, Any]) -> bool:
    """Whether an entry has any name or digest; to old clients, engines say in words that it has none."""
    return not NO_NAMES.issuperset([*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())])


def merge(by_node: Mapping[str, Iterable[Image]], naming: Naming) -> list[Entry]:
    """Merge lists of images into one, with one entry for each id."""
    merged: dict[str, Entry] = {}
    nameless: dict[str, Image] = {}
    for node_id, images in by_node.items():
        for image in images:
            into = merged.setdefault(image["Id"], {**image, "RepoTags": [], "RepoDigests": [], "Containers": -1})
            shown = naming.shown(node_id, image)
            into["RepoTags"] = sorted({*into["RepoTags"], *shown["RepoTags"]})
            into["RepoDigests"] = sorted({*into["RepoDigests"], *shown["RepoDigests"]})
            if image.get("Containers", -1) >= 0:
                into["Containers"] = max(into["Containers"], 0) + image["Containers"]
            nameless.update({image["Id"]: image} if NO_NAMES & {*(image.get("RepoTags") or ())} else {})
    for image_id, image in nameless.items():
        if not has_name(merged[image_id]):
            merged[image_id]["RepoTags"] = _words_for_none(image.get("RepoTags"))
            merged[image_id]["RepoDigests"] = _words_for_none(image.get("RepoDigests"))
    return sorted(merged.values(), key=lambda image: (-image.get("Created", 0), image["Id"]))


def _words_for_none(names: Sequence[str] | None) -> list[str] | None:
    """Return those of an engine's names that mean `none`; its other names are not shown as the cluster's."""
    return None if names is None else [name for name in names if name in NO_NAMES]


def unheld(held: Iterable[str], naming: Naming) -> list[Entry]:
    """Return entries for the images that have a name and are not among those held."""
    held = frozenset(held)
    names = (name for name in naming.view.image_names if "@" not in name.id)
    missing = {name.image_id: name for name in names if name.image_id not in held}
    return [_entry(name, sorted(naming.names(image_id))) for image_id, name in sorted(missing.items())]


def _entry(name: ImageName, names: list[str]) -> Entry:
    return {
        "Id": name.image_id,
        "ParentId": "",
        "RepoTags": names,
        "RepoDigests": list(name.repo_digests),
        "Created": int(name.created_at),
        "Size": name.size,
        "SharedSize": -1,
        "Labels": None,
        "Containers": -1,
    }


def filter_by_name(images: Iterable[Entry], filters: Mapping[str, frozenset[str]]) -> list[Entry]:
    """Apply the filters that go by names, `reference` and `dangling`, as the engine does."""
    patterns, dangling = filters.get("reference"), filters.get("dangling")
    kept = [_matching(image, patterns) for image in images] if patterns else list(images)
    if patterns:
        kept = [image for image in kept if has_name(image)]
    if dangling:
        wanted = bool(dangling & {"true", "1", "True"})
        kept = [image for image in kept if wanted is not has_name(image)]
    return kept


def _matching(image: Entry, patterns: frozenset[str]) -> Entry:
    tags = [tag for tag in image["RepoTags"] or () if any(_matches(p, tag, split_tag(tag)[0]) for p in patterns)]
    digests = [
        each for each in image["RepoDigests"] or () if any(_matches(p, each, each.partition("@")[0]) for p in patterns)
    ]
    return {**image, "RepoTags": tags, "RepoDigests": digests}


def _matches(pattern: str, name: str, repository: str) -> bool:
    """Whether a name, with or without its tag, matches a pattern whose `*` and `?` stop at slashes."""
    return any(_matches_path(pattern, each) for each in (name, repository))


def _matches_path(pattern: str, name: str) -> bool:
    patterns, parts = pattern.replace("[^", "[!").split("/"), name.split("/")
    return len(patterns) == len(parts) and all(map(fnmatchcase, parts, patterns))
