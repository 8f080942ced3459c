"""Debian's Prometheus beside a lab's cluster, set up as deploy/monitoring says, with shorter times."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.clients.installed import debian
from tests.e2e.cluster import Cluster
from tests.unit.deploy.test_monitoring import MONITORING

PORT = 9098
SCRAPE = "1s"
# In place of minutes and hours: what alerts look back at, and how long something has to last.
RANGE = "20s"
OFFSET = "15s"
LATE_SECONDS = 5


class Prometheus:
    """A Prometheus that watches a cluster; `patience` is how long an alert may take to fire and to end (seconds)."""

    patience = 120.0  # a job is due within a minute at the soonest

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def ask(self, path: str) -> Any:
        """Return what the API answers to a path below `/api/v1/`; None while it does not."""
        url = f"http://127.0.0.1:{PORT}/api/v1/{path}"
        asked = await self.cluster.manager_host.run("curl", "-sSf", url, check=False)
        return json.loads(asked.stdout)["data"] if not asked.returncode else None

    async def query(self, text: str) -> list[dict[str, Any]]:
        data = await self.ask(f"query?query={quote(text)}")
        return list(data["result"]) if data is not None else []

    async def firing(self, alert: str, labels: Mapping[str, str]) -> bool:
        """Whether an alert fires with these labels among its own."""
        data = await self.ask("alerts") or {"alerts": []}
        wanted = {"alertname": alert, **labels}.items()
        return any(wanted <= each["labels"].items() for each in data["alerts"] if each["state"] == "firing")

    async def fires(self, alert: str, labels: Mapping[str, str]) -> float:
        """Return after how many seconds an alert fired."""
        return await self._until(alert, labels, firing=True)

    async def ends(self, alert: str, labels: Mapping[str, str]) -> float:
        """Return after how many seconds an alert no longer fired."""
        return await self._until(alert, labels, firing=False)

    async def _until(self, alert: str, labels: Mapping[str, str], *, firing: bool) -> float:
        async def so() -> bool:
            return await self.firing(alert, labels) is firing

        def story() -> str:
            return f"{alert} {dict(labels)} {'does not fire' if firing else 'does not end'}"

        return await self.cluster.until(so, self.patience, story, pause=0.2)


def with_short_times(rules: str) -> str:
    """Return alert rules that fire as soon as their condition holds, and look back at seconds in place of minutes.

    That they wait, and for how long, is tried by deploy/monitoring/alerts_test.yml. A certificate's last part is all of
    its life here: none can be made that is older than the cluster.
    """
    lines = [line for line in rules.splitlines() if not line.strip().startswith("for: ")]
    text = re.sub(r"\[[0-9]+[mh]\]", f"[{RANGE}]", "\n".join(lines))
    text = re.sub(r"\boffset [0-9]+[mh]", f"offset {OFFSET}", text)
    text = text.replace("_next_timestamp_seconds > 300", f"_next_timestamp_seconds > {LATE_SECONDS}")
    return text.replace("< 0.15 * (swarm_certificate", "< 1 * (swarm_certificate")


def _configuration(folder: Path, address: str, certificates: Path) -> Path:
    """Write what deploy/monitoring has, for this cluster."""
    text = (MONITORING / "prometheus.yml").read_text()
    text = text.replace("MANAGER:2376", f"{address}:2376").replace("/run/secrets", str(certificates))
    (folder / "alerts.yml").write_text(with_short_times((MONITORING / "alerts.yml").read_text()))
    file = folder / "prometheus.yml"
    file.write_text(text.replace("15s", SCRAPE))
    return file


@asynccontextmanager
async def watching(cluster: Cluster) -> AsyncIterator[Prometheus]:
    """Run a Prometheus on the manager's host, as a viewer with a certificate; it has read the manager's page."""
    manager_host = cluster.manager_host
    certificates = manager_host.folder / "viewer"
    await cluster.swarm("client-cert", "prometheus", "--role", "viewer", "--out", str(certificates))
    program = debian("prometheus", "usr/bin/prometheus") / "usr/bin/prometheus"
    process = await manager_host.spawn(
        str(program),
        f"--config.file={_configuration(manager_host.folder, manager_host.ip, certificates)}",
        f"--storage.tsdb.path={manager_host.folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{PORT}",
        name="prometheus",
    )
    prometheus = Prometheus(cluster)

    async def scraped() -> bool:
        return bool(await prometheus.query("swarm_manager_leader == 1"))

    await cluster.until(scraped, 40, process.tail, pause=0.2)
    yield prometheus
    await process.stop()
