"""GET /metrics, /nodes/{id}/metrics, /metrics/targets: what Prometheus reads, and the list of all these pages."""

from __future__ import annotations

import asyncio
import re

from common.errors import Unavailable
from common.model.client import Role
from common.text.terminal import quote
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.lookup import find_node
from manager.api.router import Place, Route
from manager.metrics.families import CONTENT_TYPE

# What a client calls this manager: the address that it has reached.
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,255}:[0-9]{1,5}|\[[0-9A-Fa-f:.]{2,45}\]:[0-9]{1,5}")

# A page has some 5 kB a task; several clients may ask for it at once.
PAGE_BYTES, PAGE_BYTES_OF_TASK = 256 << 10, 32 << 10
PAGE_SECONDS = 10.0
NODES_JOB = "swarm-nodes"
# Which node a container is on, on each of its series.
NODE_LABEL = "container_label_com_docker_swarm_node_id"
# A page has some twenty series a task, ended ones among them, and two lines for each of their names.
_LINES, _LINES_OF_TASK = 500, 60
_SHOWN_BYTES = 200


async def metrics(context: Context, call: Call) -> Reply:
    """Answer with this manager's page; the leader's has the cluster's numbers, too."""
    if context.quorum.leads:
        await context.overview.ready()
    page = await context.pages.take()
    if "gzip" in call.headers.get("accept-encoding", ""):
        return Answer(value=page.packed, content_type=CONTENT_TYPE, headers={"Content-Encoding": "gzip"})
    return Answer(value=page.text, content_type=CONTENT_TYPE)


async def targets(context: Context, call: Call) -> Reply:
    """List the pages as Prometheus' `http_sd_configs` wants them: all at the address that the caller has reached.

    A manager lists its own, and the leader those of the nodes: where each is asked, each page is read once.
    """
    host = call.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        host = next((each.removeprefix("tcp://") for each in context.identity.hosts), "")
    if not host:
        return Answer(value=[])
    pages = [{"targets": [host], "labels": {"__metrics_path__": "/metrics"}}]
    for node in context.store.view.nodes if context.quorum.leads else ():
        if node.agent and node.description.measures:
            labels = {"__metrics_path__": f"/nodes/{node.id}/metrics", "node": node.name, "job": NODES_JOB}
            pages.append({"targets": [host], "labels": labels})
    return Answer(value=pages)


async def node_metrics(context: Context, call: Call) -> Reply:
    """Pass on the page that a node's worker writes: what it says of its own containers is that worker's word."""
    node = find_node(context.store.view, call.params["id"])
    tasks = len(context.store.view.tasks.on_node(node.id))
    most = PAGE_BYTES + tasks * PAGE_BYTES_OF_TASK
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            reader, writer = await context.engines.metrics(node.id)
            try:
                await reader.readexactly(most + 1)
            finally:
                writer.close()
    except asyncio.IncompleteReadError as whole:
        page = whole.partial
    except TimeoutError:
        raise Unavailable(f"node {node.name} did not send its page of metrics in {PAGE_SECONDS:g} s") from None
    else:
        raise Unavailable(f"node {node.name} sends a page of metrics of more than {most:,} bytes, for {tasks} tasks")
    if problem := _problem(page, node.id, tasks):
        raise Unavailable(f"node {node.name} sends a page of metrics {problem}: is its worker still the cluster's?")
    return Answer(value=page, content_type=CONTENT_TYPE)


def _problem(page: bytes, node_id: str, tasks: int) -> str:
    """Say what a page has that is not its node's to say; empty: nothing.

    Rules and boards look for series by their names: one of the cluster's own, which a node made up, would be believed.
    """
    # Beside containers a page may have what later releases of the worker say of themselves.
    own = re.escape(f'{NODE_LABEL}="{node_id}"'.encode())
    foreign = re.compile(rb"^(?!#|$|swarm_worker_|container_\w+\{(?:[^\n]*,)?" + own + rb"[,}])", re.MULTILINE)
    if found := foreign.search(page):
        line = page[found.start() : found.start() + _SHOWN_BYTES].partition(b"\n")[0]
        return f"with {quote(line.decode(errors='replace'))}, which is not of a container of its own"
    lines = page.count(b"\n")
    return f"of {lines:,} lines, for {tasks} tasks" if lines > _LINES + tasks * _LINES_OF_TASK else ""


ROUTES = (
    Route("GET", "/metrics", metrics, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/metrics/targets", targets, needs=Role.VIEWER, place=Place.HERE),
    Route("GET", "/nodes/{id}/metrics", node_metrics, needs=Role.VIEWER),
)
