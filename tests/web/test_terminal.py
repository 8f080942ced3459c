"""A terminal in a task's container, in a document of its own."""

import asyncio
from collections import defaultdict

from playwright.async_api import expect

from tests.fakes.container_engine import Engines
from tests.web.conftest import SHARED, Dashboard
from tests.web.scene import Scene

pytestmark = SHARED

EXEC, BOX = "ab" * 32, "cd" * 32


async def shell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A shell that says each line again, and colours its prompt; it also tries to set the title and the clipboard."""
    writer.write(b"\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[32m$\x1b[0m ")
    typed = b""
    while not typed.endswith(b"exit\r"):
        data = await reader.read(100)
        typed += data
        writer.write(
            data.replace(b"\r", b"\r\nsaid " + typed.split(b"\r")[-2 if data.endswith(b"\r") else -1] + b"\r\n$ ")
        )
        await writer.drain()


def answering(scene: Scene, engines: Engines) -> str:
    """Let a task's node have an engine with its container; return the task's id."""
    task = scene.task("shop_web", 1)
    assert task.status.container_status is not None
    engines.one.talk = shell
    engines.one.add(BOX, "box")
    engines.one.answers |= {
        f"POST /containers/{BOX}/exec": (201, {"Id": EXEC}),
        f"GET /exec/{EXEC}/json": (200, {"ID": EXEC, "ContainerID": BOX, "ProcessConfig": {"tty": True}}),
        f"POST /exec/{EXEC}/resize": (200, {}),
    }
    engines._by_node = defaultdict(lambda: engines.two, {task.node_id: engines.one})
    return task.id


async def test_a_shell_in_a_container(operators: Dashboard) -> None:
    scene = operators.scene
    async with Engines(scene.cluster) as engines:
        task = answering(scene, engines)
        await scene.have_container("shop_web", 1, BOX)
        page = await operators.open(f"/tasks/{task}")
        await page.get_by_role("button", name="Terminal", exact=True).click()
        frame = page.frame_locator("iframe.terminal")
        await expect(frame.locator(".xterm-rows")).to_contain_text("$")
        await page.keyboard.type("ls\n")
        await expect(frame.locator(".xterm-rows")).to_contain_text("said ls")
        assert "owned" not in await page.title()
        assert any(each.path == f"/exec/{EXEC}/resize" for each in engines.one.requests)
        await page.keyboard.type("exit\n")
        await expect(frame.locator("#said")).to_have_text("The shell has ended.")
        audited = [(each.method, each.path, each.status) for each in scene.cluster.audited]
        assert ("GET", f"/exec/{EXEC}/ws", 101) in audited
        assert operators.complaints == []


async def test_a_viewer_has_no_terminal(dashboard: Dashboard) -> None:
    page = await dashboard.open(f"/tasks/{dashboard.scene.task('shop_web', 1).id}")
    await expect(page.get_by_role("button", name="Terminal", exact=True)).to_be_disabled()
