"""GET /metrics and /metrics/targets: what Prometheus reads, and the list of all that it can read here."""

from __future__ import annotations

import re

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.router import Route
from manager.metrics.page import CONTENT_TYPE

# What a client calls this manager: the address that it has reached.
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,255}:[0-9]{1,5}|\[[0-9A-Fa-f:.]{2,45}\]:[0-9]{1,5}")


async def metrics(context: Context, call: Call) -> Reply:
    await context.overview.ready()
    page = await context.pages.take()
    if "gzip" in call.headers.get("accept-encoding", ""):
        return Answer(value=page.packed, content_type=CONTENT_TYPE, headers={"Content-Encoding": "gzip"})
    return Answer(value=page.text, content_type=CONTENT_TYPE)


async def targets(context: Context, call: Call) -> Reply:
    """List the pages as Prometheus' `http_sd_configs` wants them: all at the address that the caller has reached."""
    host = call.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        host = next((each.removeprefix("tcp://") for each in context.identity.hosts), "")
    if not host:
        return Answer(value=[])
    pages = [{"targets": [host], "labels": {"__metrics_path__": "/metrics"}}]
    return Answer(value=pages)


ROUTES = (
    Route("GET", "/metrics", metrics, needs=Role.VIEWER),
    Route("GET", "/metrics/targets", targets, needs=Role.VIEWER),
)
