"""The labels by which a service's tasks are spread."""

from common.model import Node
from common.model.node import EngineDescription, NodeDescription, NodeSpec
from common.model.service import Placement, PlacementPreference, SpreadOver
from manager.schedule.preferences import label_value, label_values, levels_of

NODE = Node(
    spec=NodeSpec(labels={"zone": "a"}), description=NodeDescription(engine=EngineDescription(labels={"disk": "ssd"}))
)


def placement(*descriptors: str) -> Placement:
    return Placement(
        preferences=tuple(PlacementPreference(spread=SpreadOver(spread_descriptor=each)) for each in descriptors)
    )


def test_only_labels_divide_nodes() -> None:
    assert levels_of(None) == levels_of(Placement()) == ()
    found = levels_of(placement("node.labels.zone", "node.hostname", "Engine.Labels.disk"))
    assert found == ("node.labels.zone", "Engine.Labels.disk")


def test_a_node_has_a_value_for_each_level_or_none() -> None:
    assert label_values(NODE, ("node.labels.zone", "engine.labels.disk")) == ("a", "ssd")
    assert label_value(NODE, "node.labels.rack") == ""
    assert label_value(NODE, "NODE.LABELS.zone") == "a"
