"""A browser before the dashboard: Chromium, the gate, the real API, and a cluster behind it that tests move."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from manager.api.dashboard import FOLDER
from manager.api.http.server import serve
from manager.cli.dashboard.gate import Gate, open_gate
from manager.cli.endpoint import Endpoint
from tests.fakes.api_cluster import ApiCluster
from tests.web.scene import Scene

CHROMIUM = shutil.which("chromium")
# As root Chromium has no sandbox of its own.
ARGUMENTS = ["--no-sandbox"] if os.geteuid() == 0 else []
ALIVE_MILLISECONDS = 20_000

expect.set_options(timeout=ALIVE_MILLISECONDS)


# All of these tests share one event loop, and so one browser.
SHARED = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


@pytest.fixture(scope="session", autouse=True)
def needs() -> None:
    """Skip where there is no browser; that the libraries are missing fails."""
    if CHROMIUM is None:
        pytest.skip("needs chromium, Debian's package")
    assert (FOLDER / "vendor" / "tests" / "axe.min.js").exists(), "run deploy/web-assets --tests"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@dataclass
class Dashboard:
    """The dashboard of a cluster. `complaints` are what browsers said that they should not have had to say."""

    scene: Scene
    browser: Browser
    gate: Gate
    port: int
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def context(self, width: int = 1280, theme: str = "light") -> BrowserContext:
        made = await self.browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        made.on("page", self._listen)
        self.contexts.append(made)
        return made

    def _listen(self, page: Page) -> None:
        def hear(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(f"{page.url}: {message.text}")

        def ask(request: Request) -> None:
            self.requests.append(request.url)

        page.on("console", hear)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("request", ask)

    async def open(self, path: str = "/", *, context: BrowserContext | None = None, width: int = 1280) -> Page:
        """Open a screen in a browser that has its key."""
        page = await (context or await self.context(width)).new_page()
        await page.goto(f"{self.url}/#{self.gate.new_token()}")
        await expect(page.locator("main h1").first).to_be_visible()
        if path != "/":
            await self.go(page, path)
        return page

    async def go(self, page: Page, path: str) -> None:
        await page.goto(f"{self.url}/dashboard{path}")
        await expect(page.locator("main h1").first).to_be_visible()

    async def follow(self, page: Page, path: str) -> None:
        """Go to a screen as one who follows a link, without loading the page anew."""
        await page.evaluate(
            "(path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }",
            f"/dashboard{path}",
        )

    async def close(self) -> None:
        for context in self.contexts:
            await context.close()


@asynccontextmanager
async def dashboard_of(scene: Scene, browser: Browser, role: str) -> AsyncIterator[Dashboard]:
    socket = f"unix://{scene.cluster.folder}/docker.sock"
    async with open_gate(Endpoint(socket), role, 0) as (gate, port):
        dashboard = Dashboard(scene, browser, gate, port)
        try:
            yield dashboard
        finally:
            await dashboard.close()


@pytest_asyncio.fixture(loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    async with ApiCluster(idle=True) as cluster:
        scene = Scene(cluster)
        await scene.furnish()
        async with scene.serving:
            await scene.serving.enter_async_context(serve(cluster.api, [f"unix://{cluster.folder}/docker.sock"]))
            yield scene


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(scene: Scene, browser: Browser) -> AsyncIterator[Dashboard]:
    """As a viewer sees it."""
    async with dashboard_of(scene, browser, "viewer") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def operators(scene: Scene, browser: Browser) -> AsyncIterator[Dashboard]:
    """As an operator sees it."""
    async with dashboard_of(scene, browser, "operator") as made:
        yield made
