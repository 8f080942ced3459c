"""Tasks, plain containers and measurements: whether the names in them may become names and paths on this host. Pure.

The rest of a container's specification is passed on as it came: the engine reads it as JSON.
"""

from __future__ import annotations

import math
import re

from common.model.attachment import NetworkAttachment
from common.model.task import Task
from common.wire.usage_messages import Gauge
from worker.intake.addresses import port_number
from worker.intake.entries import Refuse
from worker.intake.identifiers import Unusable, container_name, identifier, quote_foreign

# Seconds between two measurements.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.1, 86_400.0

# An HTTP request's target (RFC 9112, 3.2.1), and Prometheus' name of a metric.
_PATH = re.compile(r"/[!-~]{0,2000}")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,500}")


def read_task(sent: Task, _: Refuse) -> Task:
    """Return a task after checking that its id and name may name its container, files and folders.

    Raises:
        Unusable: they may not.

    """
    identifier(sent.id)
    container_name(sent.name)
    return sent


def read_attachment(sent: NetworkAttachment, _: Refuse) -> NetworkAttachment:
    """Return a plain container's record after checking its id; errors as `read_task`."""
    identifier(sent.id)
    return sent


def read_gauge(sent: Gauge, _: Refuse) -> Gauge:
    """Return what is to be measured after checking interval, port, path and name; errors as `read_task`."""
    if not (math.isfinite(sent.interval) and SHORTEST_INTERVAL <= sent.interval <= LONGEST_INTERVAL):
        raise Unusable(f"it cannot be measured every {sent.interval:g} s")
    metric = sent.metric
    if metric is not None:
        port_number(metric.port)
        if _PATH.fullmatch(metric.path) is None:
            raise Unusable(f"{quote_foreign(metric.path)} is not a path that can be asked for")
        if _METRIC.fullmatch(metric.name) is None:
            raise Unusable(f"{quote_foreign(metric.name)} is not the name of a metric")
    return sent
