"""The shared dashboard in a browser: it asks for a token, and is worth what the token is, until that is revoked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from common.http.dashboard_token import Token, new_token
from common.tls import ROLE_MANAGER, public_context
from manager.api.access.token_auth import TokenAuthenticator
from manager.api.http.server import serve
from tests.e2e.ci import long
from tests.fakes.api_client import Client
from tests.fakes.certificates import Pki
from tests.web.conftest import SHARED
from tests.web.scene import Scene

pytestmark = SHARED


@dataclass
class Shared:
    """A shared dashboard, and a browser that trusts its certificate. `complaints` are what its console said."""

    scene: Scene
    url: str
    context: BrowserContext
    complaints: list[str]

    async def token(self, name: str, role: str) -> Token:
        made = new_token()
        order = {"ID": made.id, "Digest": made.digest, "Name": name, "Role": role}
        await Client(self.scene.cluster.api).make("/swarm/dashboard-tokens/create", order)
        return made

    async def open(self, path: str = "/") -> Page:
        page = await self.context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        await page.goto(f"{self.url}{path}")
        return page


@asynccontextmanager
async def serving(scene: Scene, browser: Browser, folder: Path) -> AsyncIterator[Shared]:
    cluster = scene.cluster
    context = public_context(Pki(folder, authority=cluster.authority).files("m1", ROLE_MANAGER))
    authenticator = TokenAuthenticator(cluster.store, cluster.clock)
    async with serve(cluster.api, ["tcp://127.0.0.1:0"], ssl_context=context, identify=authenticator.identify) as (
        host,
    ):
        trusting = await browser.new_context(ignore_https_errors=True)
        try:
            yield Shared(scene, host.replace("tcp://", "https://"), trusting, [])
        finally:
            await trusting.close()


@pytest_asyncio.fixture(loop_scope="session")
async def shared(scene: Scene, browser: Browser, tmp_path: Path) -> AsyncIterator[Shared]:
    async with serving(scene, browser, tmp_path) as made:
        yield made


async def test_it_asks_for_a_token(shared: Shared) -> None:
    page = await shared.open()
    await expect(page.get_by_role("heading", name="This dashboard asks for a token")).to_be_visible()
    entry = page.get_by_label("Token")
    await entry.fill("hunter2")
    await entry.press("Enter")
    await expect(page.get_by_role("alert").last).to_contain_text("not a token of a dashboard")
    await entry.fill(str(new_token()))
    await entry.press("Enter")
    await expect(page.get_by_role("alert").last).to_contain_text("there is no such dashboard token")
    await entry.fill(str(await shared.token("alice", "viewer")))
    await entry.press("Enter")
    await expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    await expect(page.locator(".bar .role")).to_have_text("viewer")


@long
async def test_a_link_with_a_token_opens_it_and_forgets_it(shared: Shared) -> None:
    token = await shared.token("alice", "operator")
    page = await shared.open(f"/dashboard/stacks/blog/plan#{token}")
    await expect(page.get_by_role("heading", name="cannot be deployed from this page")).to_be_visible()
    assert token.secret not in page.url
    assert shared.complaints == []


async def test_a_revoked_token_ends_what_it_opened(shared: Shared) -> None:
    admin = await shared.open(f"/dashboard/access#{await shared.token('root', 'admin')}")
    page = await shared.open(f"/dashboard/#{await shared.token('alice', 'viewer')}")
    await expect(page.locator("main h1").first).to_be_visible()
    await admin.reload()
    await admin.get_by_role("button", name="Revoke the token of alice").click()
    await admin.get_by_label("Type alice to go on").fill("alice")
    await admin.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.get_by_role("heading", name="This dashboard asks for a token")).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("was revoked")
