"""What happens in the cluster is seen in the page, without a reload."""

import asyncio
import re

from playwright.async_api import Browser, Route, expect

from common.model.update import UpdateState
from manager.api.http.server import serve
from manager.cli.dashboard.gate import Keys
from tests.e2e.ci import long
from tests.fakes.api_cluster import ApiCluster
from tests.web.conftest import ALIVE_MILLISECONDS, SHARED, Dashboard, dashboard_of
from tests.web.scene import Scene

pytestmark = SHARED


async def test_a_node_dies_and_comes_back(dashboard: Dashboard) -> None:
    page, scene = await dashboard.open(), dashboard.scene
    await expect(page.locator("[data-sentence]")).to_have_text("All is well")
    tile = page.locator("[data-name=w3]")
    await expect(tile.locator("canvas")).to_have_attribute("aria-label", "6 running")
    await scene.kill_node("w3")
    await expect(page.locator("[data-sentence]")).to_have_text("1 thing needs attention")
    await expect(page.locator("[data-kind=node-down]")).to_contain_text("node w3 is down")
    await expect(tile).to_contain_text("down")
    await expect(tile.locator("canvas")).to_have_attribute("aria-label", "6 lost")
    await expect(page.locator(".entries").first).to_contain_text("w3 is down")
    await scene.revive_node("w3")
    await expect(page.locator("[data-sentence]")).to_have_text("All is well")
    await expect(tile.locator("canvas")).to_have_attribute("aria-label", "6 running")
    assert dashboard.complaints == []


async def test_what_is_lost_with_a_node_does_not_run(dashboard: Dashboard) -> None:
    page, scene = await dashboard.open("/services/reports"), dashboard.scene
    standing = page.locator("[data-standing]")
    await expect(standing).to_contain_text("4/4 running")
    home = next(each.name for each in scene.store.view.nodes if each.id == scene.task("reports", 1).node_id)
    await scene.kill_node(home)
    await expect(standing).to_contain_text("3/4 running 1 lost")
    await dashboard.follow(page, "/services")
    await expect(page.get_by_role("row", name="reports")).to_contain_text("3/4")
    await scene.revive_node(home)
    await expect(page.get_by_role("row", name="reports")).to_contain_text("4/4")


async def test_one_box_a_slot_whatever_failed_in_it(dashboard: Dashboard) -> None:
    page, scene = await dashboard.open("/?group=stack"), dashboard.scene
    canvas = page.locator("[data-name=reports] canvas")
    await expect(canvas).to_have_attribute("aria-label", "4 running")
    for number in range(3):
        await scene.fail_task("reports", 2, f"exit {number}")
    await expect(canvas).to_have_attribute("aria-label", "3 running, 1 starting")
    await expect(page.locator("[data-name=reports]")).to_contain_text("✕3 in 1 h")


async def test_a_service_scales(dashboard: Dashboard) -> None:
    page, scene = await dashboard.open("/services/reports"), dashboard.scene
    await expect(page.locator("[data-standing]")).to_contain_text("4/4")
    await scene.scale("reports", 7)
    await expect(page.locator("[data-standing]")).to_contain_text("7/7")
    await expect(page.locator("main tbody tr")).to_have_count(7)


async def test_what_goes_on_changing_is_asked_for_at_a_pace(dashboard: Dashboard) -> None:
    """A manager that takes long to answer is left alone for a multiple of that."""
    page, scene = await dashboard.open("/services/reports"), dashboard.scene
    await expect(page.locator("[data-standing]")).to_contain_text("4/4")

    async def slowly(route: Route) -> None:
        await asyncio.sleep(0.3)
        await route.continue_()

    await page.route(re.compile(r"/tasks\?"), slowly)
    dashboard.requests.clear()
    for replicas in (5, 6, 7, 8, 9, 10):
        await scene.scale("reports", replicas)
        await asyncio.sleep(0.3)  # a round of the feed
    asked = [url for url in dashboard.requests if "/tasks?" in url]
    assert 1 <= len(asked) <= 3, asked
    await expect(page.locator("[data-standing]")).to_contain_text("10/10")
    assert dashboard.complaints == []


async def test_an_update_fails_and_says_why(dashboard: Dashboard) -> None:
    page, scene = await dashboard.open("/services/shop_api"), dashboard.scene
    await scene.update("shop_api", "shop/api:43", UpdateState.UPDATING, done=2, of=6)
    await expect(page.locator("[data-update=updating]")).to_be_visible()
    await scene.update("shop_api", "shop/api:44", UpdateState.PAUSED, done=2, of=6, error="cannot reach db:5432")
    await expect(page.locator("[data-update=paused]")).to_contain_text("cannot reach db:5432")
    assert "watching" not in await page.locator("[data-update=paused]").inner_text()
    assert dashboard.complaints == []


@long
async def test_a_manager_that_is_away_and_comes_back(dashboard: Dashboard) -> None:
    """The page is grey and says as of when it is; then it goes on by itself."""
    scene = dashboard.scene
    host = f"unix://{scene.cluster.folder}/docker.sock"
    page = await dashboard.open()
    await scene.serving.aclose()
    await expect(page.locator(".link-notice")).to_contain_text("The manager does not answer")
    await scene.kill_node("w2")
    async with serve(scene.cluster.api, [host]):
        await expect(page.locator(".link-notice")).to_have_count(0)
        await expect(page.locator("[data-kind=node-down]")).to_contain_text("node w2 is down")


async def test_many_tabs_have_one_stream(dashboard: Dashboard) -> None:
    """A browser opens six connections to a host: with a stream for each, the seventh tab would never load."""
    context = await dashboard.context()
    first = await dashboard.open(context=context)
    tabs = [first]
    for _ in range(7):
        page = await context.new_page()
        await page.goto(f"{dashboard.url}/dashboard/")  # the key comes from another tab
        tabs.append(page)
    for page in tabs:
        await expect(page.locator("[data-sentence]")).to_have_text("All is well")
    await dashboard.scene.kill_node("w5")
    for page in tabs:
        await expect(page.locator("[data-kind=node-down]")).to_contain_text("node w5 is down")
    await _has_one_stream(dashboard)
    await first.close()
    await dashboard.scene.revive_node("w5")
    for page in tabs[1:]:
        await expect(page.locator("[data-sentence]")).to_have_text("All is well")
    await _has_one_stream(dashboard)


async def _has_one_stream(dashboard: Dashboard) -> None:
    """Wait until there is one: a tab that is closed, or has left the stream to another, may not be gone yet."""
    async with asyncio.timeout(ALIVE_MILLISECONDS / 1000):
        while dashboard.scene.cluster.api.context.feed.followers != 1:
            await asyncio.sleep(0.05)


async def test_the_last_hour_is_drawn(dashboard: Dashboard) -> None:
    dashboard.scene.measure("shop_api")
    page = await dashboard.open("/nodes/w1")
    for name in ("CPU", "Memory", "Disk of the engine", "Received", "Sent", "Waiting for CPU"):
        await expect(page.get_by_role("img", name=re.compile(f"^{name}, the last hour: now "))).to_be_visible()
    disk = page.get_by_role("img", name=re.compile("^Disk of the engine"))
    await expect(disk).to_have_accessible_name(re.compile("now 120 GiB of 200 GiB, 60 %, full in 2 h"))
    await expect(page.get_by_role("img", name="Waiting for memory")).to_have_count(0)  # of which nothing is known
    await dashboard.go(page, "/services/shop_api")
    await expect(page.get_by_role("img", name=re.compile("^CPU, the last hour: now .* cores"))).to_be_visible()
    await dashboard.go(page, "/nodes")
    row = page.get_by_role("row", name=re.compile("^w1 "))
    await expect(row.get_by_role("cell", name="60 %")).to_be_visible()  # of its disk
    assert dashboard.complaints == []


async def test_failures_are_drawn_where_there_were_any(dashboard: Dashboard) -> None:
    page, scene = await dashboard.open("/services/reports"), dashboard.scene
    await expect(page.locator("[data-standing]")).to_contain_text("4/4")
    await expect(page.get_by_role("img", name=re.compile("^Failures"))).to_have_count(0)
    for number in range(3):
        await scene.fail_task("reports", 2, f"exit {number}")
    await dashboard.go(page, "/services/reports")
    drawn = page.get_by_role(
        "img", name=re.compile(r"^Failures, the last hour: now [0-3] a minute, at most [1-3] a min")
    )
    await expect(drawn).to_be_visible()


async def test_a_node_tells_what_it_has_beside_tasks(dashboard: Dashboard) -> None:
    scene = dashboard.scene
    engine = scene.cluster.engines.engines[scene.node("w1").id]
    made = {"Image": "acme/backup:2", "Created": int(scene.now) - 7200, "State": "running", "Status": "Up 2 hours"}
    engine.containers = [
        {"Id": "b1" * 32, "Names": ["/backup"], "Labels": {}, **made},
        {"Id": "a2" * 32, "Names": ["/web.1.x"], "Labels": {"com.docker.swarm.task.id": "x"}, **made},
    ]
    page = await dashboard.open("/nodes/w1")
    rows = page.get_by_role("table", name="Plain containers").locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("backupacme/backup:2Up 2 hours2 h ago")
    assert not any("/system/df" in each for each in engine.requests)  # it is the engine's work: for whoever asks
    await page.get_by_text("What its disk holds").click()
    await expect(page.locator("details .facts")).to_contain_text("Images1 image, 100 B")
    await dashboard.go(page, "/nodes/w2")
    await expect(page.get_by_text("What its disk holds")).to_be_visible()
    await expect(page.get_by_role("heading", name="Plain containers")).to_have_count(0)
    engine.containers = [{"Id": "nonsense"}]
    await dashboard.go(page, "/nodes/w1")
    await expect(page.get_by_role("region", name="Plain containers")).to_contain_text('Not known: "not complete: w1:')
    assert dashboard.complaints == []


async def test_a_node_says_when_it_was_last_seen(dashboard: Dashboard) -> None:
    scene, loop = dashboard.scene, asyncio.get_running_loop()
    contacts, heard_at = scene.cluster.api.context.soft.contacts, loop.time()
    contacts.begun(scene.node("w3").id, loop.time)
    page = await dashboard.open("/nodes/w3")
    seen = page.locator("[data-seen]")
    await expect(seen).to_have_text("Last seen 0.0 s ago.")
    contacts.ended(scene.node("w3").id, heard_at - 100)
    await scene.kill_node("w3")
    await expect(page.locator(".screen-head")).to_contain_text("down for")
    await expect(seen).to_have_text(re.compile(r"^Last seen .*[0-9]{2}:[0-9]{2}:[0-9]{2}, 1 min ago\.$"))
    await scene.kill_node("w4")
    await dashboard.go(page, "/nodes/w4")
    await expect(seen).to_have_text("Not heard since this manager began to lead.")


async def test_a_dashboard_that_was_ended_says_how_to_go_on(dashboard: Dashboard) -> None:
    """Its key is worth nothing to the next one."""
    page = await dashboard.open()
    dashboard.gate.keys = Keys()
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("This page has no key")
    await expect(page.get_by_role("alert")).to_contain_text("swarm-manager dashboard")


async def test_an_empty_cluster_says_how_to_fill_it(browser: Browser) -> None:
    async with ApiCluster(idle=True) as cluster:
        served = serve(cluster.api, [f"unix://{cluster.folder}/docker.sock"])
        async with served, dashboard_of(Scene(cluster), browser, "viewer") as dashboard:
            page = await dashboard.open()
            await expect(page.locator("[data-sentence]")).to_have_text("No services yet")
            await expect(page.locator("main")).to_contain_text("swarm-manager stack deploy -c docker-compose.yaml app")
            assert dashboard.complaints == []
