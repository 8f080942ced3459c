"""Which strategy places a service's tasks: its own or the cluster's, and what other services mean for it."""

from __future__ import annotations

from collections.abc import Mapping

from common.model import Service
from common.model.service import EXTENSION_PREFIX
from common.spec import extensions
from manager.schedule.load import ClusterLoad
from manager.schedule.rank import Biased, Binpack, Strategy
from manager.store.view import View

BINPACK = "binpack"


def default_strategy(view: View) -> str:
    """Return the cluster's strategy by its name."""
    found = next(iter(view.clusters), None)
    return extensions.read_cluster(found.spec.labels).strategy if found is not None else "spread"


def special(service: Service, default: str) -> bool:
    """Whether the service is placed otherwise than by an even spread."""
    labels = service.spec.labels
    if not labels or not any(label.startswith(EXTENSION_PREFIX) for label in labels):
        return default == BINPACK
    wanted = extensions.of(service)
    return (wanted.strategy or default) == BINPACK or bool(wanted.affinity or wanted.anti_affinity)


def strategy_of(service: Service, view: View, load: ClusterLoad, default: str) -> Strategy:
    """Choose the strategy for the tasks of a `special` service, as things are now."""
    wanted = extensions.of(service)
    bias = _bias(view, load, wanted.affinity, wanted.anti_affinity)
    return Binpack(bias) if (wanted.strategy or default) == BINPACK else Biased(bias)


def _bias(view: View, load: ClusterLoad, liked: Mapping[str, int], disliked: Mapping[str, int]) -> dict[str, int]:
    """Return what speaks against a node (below zero: for it), in tasks of the service that more or fewer are there."""
    bias: dict[str, int] = {}
    for names, sign in ((liked, -1), (disliked, 1)):
        for name, weight in names.items():
            there = {node_id for other in view.services.named(name) for node_id in load.counts(other.id)}
            for node_id in there:
                bias[node_id] = bias.get(node_id, 0) + sign * weight
    return bias
