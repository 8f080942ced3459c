"""Pictures of the real dashboard: `SWARM_PICTURES=docs/images tests/run web -k pictures` makes the README's anew."""

import os
from pathlib import Path

import pytest
from playwright.async_api import expect

from common.model.update import UpdateState
from tests.web.conftest import SHARED, Dashboard
from tests.web.scene import DOWN

pytestmark = SHARED

MOST_BYTES = 150_000
WIDTH, HEIGHT = 1120, 640
PICTURES = {
    "overview": ("light", "/", "[data-name=w10] canvas"),
    "service": ("dark", "/services/shop_api", "[data-update] + nav"),
}


@pytest.mark.parametrize("name", PICTURES)
async def test_pictures(operators: Dashboard, tmp_path: Path, name: str) -> None:
    theme, path, last = PICTURES[name]
    scene = operators.scene
    await scene.scale("shop_web", 120)
    await scene.scale("shop_worker", 90)
    await scene.kill_node(DOWN)
    await scene.update("shop_api", "shop/api:43", UpdateState.PAUSED, done=2, of=6, error="cannot reach db:5432")
    scene.measure("shop_api")
    page = await operators.open(path, context=await operators.context(WIDTH, theme))
    await expect(page.locator(last)).to_be_visible()
    target = Path(os.environ.get("SWARM_PICTURES") or tmp_path) / f"{name}.png"
    await page.screenshot(path=target, clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})
    assert target.stat().st_size <= MOST_BYTES
