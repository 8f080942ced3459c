"""The dashboard before real engines: a service scales, a task and an update fail, a shell runs, a host is lost.

Chromium runs beside the lab, and reaches the manager by the gate, over its socket.
"""

import re
import shutil
import time
from collections.abc import Awaitable

import pytest
from playwright.async_api import async_playwright, expect

from manager.cli.dashboard.gate import open_gate
from manager.cli.endpoint import Endpoint
from tests.e2e.ci import long
from tests.e2e.cluster import Cluster

CHROMIUM = shutil.which("chromium")
PATIENCE = 30_000

# What a hostile container says: markup, a title and a clipboard for the terminal, a screen to clear, a line of 1 MB.
HOSTILE = r"""
printf '<script>document.title = "owned"</script><img src=x onerror=document.title="owned">\n'
printf '\033]0;owned\007\033]52;c;b3duZWQ=\007\033[2J\033[31mred\033[0m\n'
head -c 1000000 /dev/zero | tr '\0' x
printf '\nthe end\n'
exec /web
"""

pytestmark = [long, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, Debian's package")]


async def seen(what: str, waiting: Awaitable[None]) -> None:
    """Wait until the page shows something, and print how long that took."""
    began = time.monotonic()
    await waiting
    print(f"{what}: seen after {time.monotonic() - began:.2f} s")


@pytest.mark.timeout(240)
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
        await seen("five tasks", expect(service.locator("[data-standing]")).to_contain_text("5/5"))

        # A task that is killed: its slot shows the next one, and that one failed.
        failing = swarm.hosts[1]
        await failing.docker("kill", (await swarm.containers(failing))[0]["Id"])
        tile = overview.locator(f"[data-name={failing.name}]")
        await seen("a killed task", expect(tile).to_contain_text("✕1 in 1 h"))
        await seen("the next one", expect(service.locator("[data-standing]")).to_contain_text("5/5"))

        # A shell in one of its containers.
        await service.locator("main tbody a").first.click()
        await service.get_by_role("button", name="Terminal", exact=True).click()
        rows = service.frame_locator("iframe.terminal").locator(".xterm-rows")
        await expect(rows).to_contain_text(re.compile(r"[#$]"))
        await service.keyboard.type("echo $((6*7))-and-more\n")
        await expect(rows).to_contain_text("42-and-more")

        # An update whose tasks fail at once.
        await swarm.swarm("service", "update", "-d", "--entrypoint", "sh -c 'exit 3'", "web")
        await seen("a failed update", expect(overview.locator("[data-kind=update-halted]")).to_contain_text("web"))
        await service.goto(f"http://127.0.0.1:{port}/dashboard/services/web")
        await expect(service.locator("[data-update=paused]")).to_be_visible()

        # What a container says is text.
        await swarm.swarm(
            "service", "create", "-d", "--no-resolve-image", "--name", "evil", "web:lab", "sh", "-c", HOSTILE
        )
        await swarm.running("evil", 1)
        await service.goto(f"http://127.0.0.1:{port}/dashboard/services/evil?tab=logs")
        log = service.locator("[data-log]")
        await expect(log).to_contain_text("the end")
        await expect(log).to_contain_text('<script>document.title = "owned"</script><img src=x')
        assert await log.locator(".ansi-1").inner_text() == "red"
        assert await log.evaluate("log => log.querySelectorAll('script, img, a, iframe').length") == 0
        assert "owned" not in await service.title()

        # A host that is gone.
        lost = swarm.hosts[2]
        await lost.cut()
        down = overview.locator("[data-kind=node-down]")
        await seen("a lost host", expect(down).to_contain_text(f"node {lost.name} is down"))
        await expect(overview.locator(f"[data-name={lost.name}]")).to_contain_text("down")
        assert said == []
        await browser.close()
