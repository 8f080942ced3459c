"""docs/monitoring.md names each family of the page, and none that there is not."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.manager.metrics.test_families import page
from worker.metrics.page import write_page

PAGE = Path(__file__).parents[3] / "docs" / "monitoring.md"
_NAME = re.compile(r"`(swarm_(?!worker_)[a-z_]+)`")
_CONTAINERS = re.compile(r"`((?:container|swarm_worker)_[a-z_]+)`")


def test_each_family_is_described():
    described = set(_NAME.findall(PAGE.read_text()))
    families = text_string_to_metric_families(page().text.decode())
    # The parser takes the suffix from a counter's name.
    there = {f"{each.name}_total" if each.type == "counter" else each.name for each in families}
    assert {name for name in there if not name.startswith("process_")} == described


def test_each_family_of_a_nodes_page_is_described():
    described = {name for name in _CONTAINERS.findall(PAGE.read_text()) if not name.startswith("container_label_")}
    pages = write_page((), "n1").decode()
    assert set(re.findall(r"^# HELP (\w+)", pages, re.MULTILINE)) == described
