"""Logs are a stranger's: text, bounded, and nothing else."""

from playwright.async_api import expect

from tests.e2e.ci import long
from tests.web.conftest import SHARED, Dashboard

pytestmark = SHARED

EVIL = [
    (1, "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">\n"),
    (1, "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b]8;;https://evil.example\x1b\\a link\x1b]8;;\x1b\\\n"),
    (2, "\x1b[31mred\x1b[0m \x1b[2J\x1b[H\x1b[?1049hplain\x00\x07\u202e\n"),
    (1, "javascript:alert(1) https://evil.example/\n"),
]


async def test_a_log_is_text_and_nothing_else(dashboard: Dashboard) -> None:
    task = dashboard.scene.task("shop_web", 1)
    dashboard.scene.say(task, EVIL)
    page = await dashboard.open(f"/tasks/{task.id}")
    lines = page.locator("[data-log] .log-line")
    await expect(lines).to_have_count(4)
    await expect(lines.nth(0)).to_contain_text("<script>document.title = 'owned'</script><img src=x")
    await expect(lines.nth(1)).to_contain_text("a link")
    await expect(lines.nth(2)).to_contain_text("red plain")
    assert "owned" not in await lines.nth(1).inner_text()
    assert await lines.nth(2).locator(".ansi-1").inner_text() == "red"
    assert (
        await page.locator("[data-log]").evaluate("log => log.querySelectorAll('a, img, script, iframe').length") == 0
    )
    assert "owned" not in await page.title()
    assert dashboard.complaints == []


@long
async def test_long_lines_and_many_of_them(dashboard: Dashboard) -> None:
    """A line of a megabyte is cut, of 20,000 lines the last are there, and both is said."""
    task = dashboard.scene.task("shop_web", 1)
    dashboard.scene.say(task, [(1, "x" * 1_000_000 + "\n"), *((1, f"line {n}\n") for n in range(20_000))])
    page = await dashboard.open(f"/tasks/{task.id}")
    await expect(page.locator("[data-log] .log-line").last).to_have_text("line 19999", use_inner_text=True)
    assert await page.locator("[data-log] .log-line").count() <= 5000
    await expect(page.locator(".log-said")).to_contain_text("earlier lines are not shown")


async def test_a_services_log_says_which_task_spoke(dashboard: Dashboard) -> None:
    page = await dashboard.open("/services/shop_web?tab=logs")
    line = page.locator(".log-line", has_text="shop_web.7 listens")
    await expect(line.locator(".log-from")).to_have_text("7")
    await page.get_by_label("Find in the log").fill("shop_web.7 l")
    await expect(page.locator(".log-line.is-found")).to_have_count(1)
