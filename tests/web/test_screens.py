"""Every screen, light and dark, wide and narrow: all can use it, and nothing is asked of others."""

import re
from collections.abc import Mapping

import pytest
from playwright.async_api import Page, expect

from manager.api.dashboard import FOLDER
from tests.e2e.ci import long
from tests.web.conftest import SHARED, Dashboard
from tests.web.scene import DOWN, Scene

pytestmark = SHARED

AXE = FOLDER / "vendor" / "tests" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS: Mapping[str, str] = {
    "/": "things need attention",
    "/?zoom=names": "without a node",
    "/?zoom=table": "lost",
    "/?group=stack&colour=service": "monitoring_agent",
    "/?group=label:zone": "zone = a",
    "/services": "shop_cache",
    "/services/shop_api": "update paused",
    "/services/shop_web?tab=logs": "listens on port 80",
    "/services/shop_api?tab=revisions": "Revision",
    "/services/shop_api?tab=timeline": "shop/api:42 → shop/api:43",
    "/services/shop_api?tab=spec": "ContainerSpec",
    "/tasks/RUNNING": "slow query",
    "/tasks/WAITING": "Why it waits",
    "/nodes": "heartbeat failure",
    f"/nodes/{DOWN}": "heartbeat failure",
    "/stacks": "monitoring",
    "/stacks/shop": "shop_cache",
    "/stacks/blog/plan": "Nothing changes before you deploy it",
    "/plan": "Name of the stack",
    "/networks": "shop_default",
    "/networks/shop_default": "shop_web",
    "/secrets": "shop_nginx.conf",
    "/secrets/shop_db-password": "shop_api",
    "/configs/shop_nginx.conf": "no service",
    "/timeline": "reports.2 failed",
    "/wall": "things need attention",
    "/nonsense": "There is no such screen",
    "/services/nobody": "There is no service of this name",
}


def address(scene: Scene, path: str) -> str:
    running, waiting = scene.task("shop_web", 1).id, scene.task("shop_cache", 2).id
    return path.replace("RUNNING", running).replace("WAITING", waiting)


# Notes what was made of `Intl`, and what of it was before the page had its code.
WATCH_INTL = """
  globalThis.made = [];
  for (const [name, Kind] of [["DateTimeFormat", Intl.DateTimeFormat], ["Collator", Intl.Collator]]) {
    Intl[name] = class extends Kind { constructor(...given) { super(...given); made.push(name); } };
  }
  addEventListener("DOMContentLoaded", () => { globalThis.atStart = [...made]; });
"""


async def test_the_code_starts_without_tables_of_languages(dashboard: Dashboard) -> None:
    """To read them was the page's longest task: each formatter is made when it is first used."""
    context = await dashboard.context()
    await context.add_init_script(WATCH_INTL)
    page = await dashboard.open("/timeline", context=context)
    await expect(page.locator(".entries time").first).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    assert await page.evaluate("atStart") == []
    assert "DateTimeFormat" in await page.evaluate("made")
    assert dashboard.complaints == []


# Bytes that came of each file of code and styles; what the browser had is 300, for the answer's head.
TRANSFERRED = """
  Object.fromEntries(
    performance.getEntriesByType("resource")
      .filter((each) => each.name.includes("/static/"))
      .map((each) => [each.name, each.transferSize]))
"""


async def test_a_second_look_fetches_no_code(dashboard: Dashboard) -> None:
    page = await dashboard.open()
    first = await page.evaluate(TRANSFERRED)
    await page.reload()
    await expect(page.locator("[data-sentence]")).to_be_visible()
    again = await page.evaluate(TRANSFERRED)
    # What is fetched when the browser is idle may not have come before the second look.
    had = {name: size for name, size in again.items() if name in first}
    assert max(first.values()) > 2000
    assert len(had) > 20
    assert max(had.values()) <= 300
    assert dashboard.complaints == []


async def violations(page: Page) -> list[str]:
    """Return what axe finds; it is evaluated, as a page under our policy lets nobody add a script."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("(rules) => axe.run({runOnly: rules})", RULES)
    return [
        f"{each['id']}: {each['help']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), pytest.param(320, "dark", marks=long)])
async def test_every_screen(operators: Dashboard, width: int, theme: str) -> None:
    await operators.scene.trouble()
    page = await operators.open(context=await operators.context(width, theme))
    too_wide = []
    for path, text in SCREENS.items():
        await operators.follow(page, address(operators.scene, path))
        await page.get_by_text(text).filter(visible=True).first.wait_for()
        if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path)
    assert too_wide == []
    assert [each for each in operators.complaints if "404" not in each] == []
    assert {url[: len(operators.url) + 1] for url in operators.requests} == {f"{operators.url}/"}


async def test_what_is_found_is_in_sight_on_a_narrow_screen(dashboard: Dashboard) -> None:
    page = await dashboard.open(width=320)
    await page.get_by_role("combobox", name="Search all names").fill("shop")
    found = page.locator("#search-found").get_by_role("option")
    await found.first.wait_for()
    box = await found.first.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 320
    name = await found.first.locator("span").first.bounding_box()
    assert name is not None
    assert name["x"] >= 0


@pytest.mark.parametrize(
    ("theme", "paths"),
    [
        ("light", ["/", "/services/shop_api", "/tasks/RUNNING"]),
        pytest.param("light", list(SCREENS), marks=long),
        pytest.param("dark", list(SCREENS), marks=long),
    ],
    ids=["some", "light", "dark"],
)
async def test_everybody_can_use_it(operators: Dashboard, theme: str, paths: list[str]) -> None:
    await operators.scene.trouble()
    page = await operators.open(context=await operators.context(1280, theme))
    found = {}
    for path in paths:
        await operators.follow(page, address(operators.scene, path))
        await page.get_by_text(SCREENS[path]).filter(visible=True).first.wait_for()
        found[path] = await violations(page)
    assert {path: each for path, each in found.items() if each} == {}
