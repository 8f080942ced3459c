"""The dashboard before real engines: the page shows a service scale, an update fail, a shell run, and a host lost.

Chromium runs beside the lab, and reaches the manager by the gate, over its socket.
"""

import re
import shutil

import pytest
from playwright.async_api import async_playwright, expect

from manager.cli.dashboard.gate import open_gate
from manager.cli.endpoint import Endpoint
from tests.e2e.ci import long
from tests.e2e.cluster import Cluster

CHROMIUM = shutil.which("chromium")
PATIENCE = 30_000

pytestmark = [long, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, Debian's package")]


@pytest.mark.timeout(170)
async def test_what_happens_is_seen() -> None:
    expect.set_options(timeout=PATIENCE)
    async with (
        Cluster("dashboard") as swarm,
        open_gate(Endpoint(swarm.api), "operator", 0) as (gate, port),
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context()
        said: list[str] = []
        context.on("weberror", lambda error: said.append(str(error.error)))
        context.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        overview = await context.new_page()
        await overview.goto(f"http://127.0.0.1:{port}/#{gate.new_token()}")
        await expect(overview.locator("[data-sentence]")).to_have_text("No services yet")

        create = ("--no-resolve-image", "--name", "web", "--replicas", "3", "--update-monitor", "2s", "web:lab")
        await swarm.swarm("service", "create", "-d", *create)
        await expect(overview.locator("[data-sentence]")).to_have_text("All is well")

        service = await context.new_page()
        await service.goto(f"http://127.0.0.1:{port}/dashboard/services/web")
        await expect(service.locator("[data-standing]")).to_contain_text("3/3")
        await swarm.swarm("service", "scale", "-d", "web=5")
        await expect(service.locator("[data-standing]")).to_contain_text("5/5")

        # A shell in one of its containers.
        await service.locator("main tbody a").first.click()
        await service.get_by_role("button", name="Terminal", exact=True).click()
        rows = service.frame_locator("iframe.terminal").locator(".xterm-rows")
        await expect(rows).to_contain_text(re.compile(r"[#$]"))
        await service.keyboard.type("echo $((6*7))-and-more\n")
        await expect(rows).to_contain_text("42-and-more")

        # An update whose tasks fail at once.
        await swarm.swarm("service", "update", "-d", "--entrypoint", "sh -c 'exit 3'", "web")
        await expect(overview.locator("[data-kind=update-halted]")).to_contain_text("web")
        await service.goto(f"http://127.0.0.1:{port}/dashboard/services/web")
        await expect(service.locator("[data-update=paused]")).to_be_visible()

        # A host that is gone.
        lost = swarm.hosts[2]
        await lost.cut()
        await expect(overview.locator("[data-kind=node-down]")).to_contain_text(f"node {lost.name} is down")
        await expect(overview.locator(f"[data-name={lost.name}]")).to_contain_text("down")
        assert said == []
        await browser.close()
