"""deploy/monitoring: Prometheus and Grafana are asked for series that there are, and alerts fire by their causes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.manager.metrics.test_families import page

MONITORING = Path(__file__).parents[3] / "deploy" / "monitoring"
BOARDS = sorted((MONITORING / "grafana").glob("*.json"))
_SERIES = re.compile(r"\b((?:swarm|process)_[a-z_]+)\b")
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: Debian's prometheus")


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]
    ]


def queries(board: Path) -> Iterator[str]:
    for panel in json.loads(board.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def series() -> set[str]:
    families = text_string_to_metric_families(page().text.decode())
    kinds = {each.name: each.type for each in families}
    found = set(kinds)
    found |= {f"{name}_total" for name, kind in kinds.items() if kind == "counter"}
    found |= {f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in ("bucket", "count")}
    return found


def test_alerts_and_boards_ask_for_series_that_there_are():
    there = series()
    asked = [rule["expr"] for rule in rules()] + [query for board in BOARDS for query in queries(board)]
    named = {name for query in asked for name in _SERIES.findall(query)}
    assert named - there == set()


def test_each_alert_says_where_it_is_shown_and_what_to_do():
    for rule in rules():
        assert {"summary", "description", "screen"} <= rule["annotations"].keys(), rule["alert"]
        assert rule["annotations"]["screen"].startswith("/")
        assert rule["labels"]["severity"] in {"page", "warning"}


def test_each_alert_has_a_test_in_which_it_fires():
    tested = (MONITORING / "alerts_test.yml").read_text()
    fired = set(re.findall(r"exp_samples: \[\{labels: 'ALERTS\{alertname=\"(\w+)\"", tested))
    assert {rule["alert"] for rule in rules()} == fired


@promtool
def test_alerts_fire_by_their_causes():
    command = ["promtool", "test", "rules", "alerts_test.yml"]
    done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
