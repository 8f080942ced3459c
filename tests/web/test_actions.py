"""Buttons: who may press them, what they ask, what they do, and the command that they show."""

import asyncio

import msgspec
import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from common.model import Service
from common.model.client import Role
from common.tls import certificate_request, new_key
from manager.api.app import RESOURCES
from manager.api.router import Router
from manager.store.transaction import Transaction
from tests.e2e.ci import long
from tests.fakes.api_client import Client
from tests.web.conftest import SHARED, Dashboard, dashboard_of
from tests.web.scene import Scene

pytestmark = SHARED

# Each button, and the request that it makes.
BUTTONS = {
    "/services/reports": {
        "Scale": ("POST", "/services/x/update"),
        "Update image": ("POST", "/services/x/update"),
        "Environment": ("POST", "/services/x/update"),
        "Restart": ("POST", "/services/x/update"),
        "Rebalance": ("POST", "/services/x/rebalance"),
        "Remove": ("DELETE", "/services/x"),
    },
    "/nodes/w1": {
        "Drain": ("POST", "/nodes/x/update"),
        "Pause": ("POST", "/nodes/x/update"),
        "Label": ("POST", "/nodes/x/update"),
    },
    "/nodes/w7": {"Remove": ("DELETE", "/nodes/x")},
    "/stacks/blog": {"Remove": ("DELETE", "/services/x")},
    "/configs/shop_nginx.conf": {"Remove": ("DELETE", "/configs/x")},
}


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("group", name="Actions").get_by_role("button", name=name, exact=True)


def confirm(page: Page, verb: str) -> Locator:
    return page.get_by_role("dialog").get_by_role("button", name=verb, exact=True)


def replicas(service: Service) -> int | None:
    return service.spec.mode.replicated.replicas if service.spec.mode.replicated else None


def image(service: Service) -> str:
    container = service.spec.task_template.container_spec
    return container.image if container is not None else ""


@pytest.mark.parametrize("role", ["viewer", "operator", pytest.param("admin", marks=long)])
async def test_each_button_is_for_whom_its_route_is(scene: Scene, browser: Browser, role: str) -> None:
    router = Router(route for resource in RESOURCES for route in resource.ROUTES)
    await scene.kill_node("w7")
    async with dashboard_of(scene, browser, role) as dashboard:
        page = await dashboard.open()
        for path, buttons in BUTTONS.items():
            await dashboard.go(page, path)
            for name, (method, route) in buttons.items():
                needs = router.match(method, route).needs
                assert needs is not None
                if Role[role.upper()] >= needs:
                    await expect(button(page, name)).to_be_enabled()
                else:
                    hint = f"needs the role {needs.label}: swarm-manager dashboard --role {needs.label}"
                    await expect(button(page, name)).to_be_disabled()
                    await expect(button(page, name)).to_have_attribute("title", hint)


async def test_what_is_forced_is_refused_and_said(dashboard: Dashboard) -> None:
    """A viewer's button that is made to work all the same."""
    page = await dashboard.open("/services/reports")
    await button(page, "Restart").evaluate("(each) => { each.disabled = false; }")
    await button(page, "Restart").click()
    await confirm(page, "Restart").click()
    await expect(page.get_by_role("alert")).to_contain_text("has the role viewer, and POST /services/{id}/update needs")
    assert dashboard.scene.cluster.audited[-1].status == 403


async def test_a_service_is_scaled(operators: Dashboard) -> None:
    page = await operators.open("/services/reports")
    await button(page, "Scale").click()
    await page.get_by_role("spinbutton", name="Tasks").fill("6")
    await expect(page.get_by_role("dialog").locator("code").last).to_have_text("swarm-manager service scale reports=6")
    await confirm(page, "Scale").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert replicas(operators.scene.service("reports")) == 6


async def test_what_stops_asks_for_the_name(operators: Dashboard) -> None:
    """So does scaling to 0."""
    page = await operators.open("/services/reports")
    await button(page, "Scale").click()
    scale = confirm(page, "Scale")
    await page.get_by_role("spinbutton", name="Tasks").fill("0")
    await expect(scale).to_be_disabled()
    await page.get_by_role("spinbutton", name="Tasks").fill("1")
    await expect(scale).to_be_enabled()
    await page.keyboard.press("Escape")
    await button(page, "Remove").click()
    remove = confirm(page, "Remove")
    await expect(remove).to_be_disabled()
    await page.get_by_label("Type reports to go on").fill("reports")
    await remove.click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert operators.scene.service("reports").pending_delete


async def asked(page: Page, name: str, command: str, **values: str) -> None:
    """Press a button, fill in its question by the labels of the fields, see its command, and say yes."""
    await button(page, name).click()
    for label, value in values.items():
        await page.get_by_label(label, exact=True).fill(value)
    await expect(page.get_by_role("dialog").locator("code").last).to_have_text(f"swarm-manager {command}")
    await page.get_by_role("dialog").locator("button[type=submit]").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


@long
async def test_variables_and_labels_are_set_and_removed(operators: Dashboard) -> None:
    page, scene = await operators.open("/services/reports"), operators.scene
    await asked(page, "Environment", "service update --env-add LEVEL=debug reports", Variable="LEVEL", Value="debug")
    await operators.go(page, "/services/reports")
    await asked(page, "Environment", "service update --env-rm PASSWORD reports", Variable="PASSWORD")
    container = scene.service("reports").spec.task_template.container_spec
    assert container is not None
    assert container.env == ("LEVEL=debug",)
    await operators.go(page, "/nodes/w1")
    await asked(page, "Label", "node update --label-add disk=ssd w1", Label="disk", Value="ssd")
    await expect(page.get_by_text("zone=a, disk=ssd")).to_be_visible()
    await asked(page, "Label", "node update --label-rm zone w1", Label="zone")
    assert scene.node("w1").spec.labels == {"disk": "ssd"}


async def test_what_nobody_uses_is_removed(operators: Dashboard) -> None:
    page = await operators.open("/secrets/shop_db-password")
    await expect(button(page, "Remove")).to_be_disabled()
    await expect(button(page, "Remove")).to_have_attribute("title", "shop_api, shop_db use it")
    await operators.go(page, "/configs/shop_nginx.conf")
    await button(page, "Remove").click()
    await page.get_by_label("Type shop_nginx.conf to go on").fill("shop_nginx.conf")
    await confirm(page, "Remove").click()
    await expect(page.get_by_text("No config yet.")).to_be_visible()


def leave(tx: Transaction) -> None:
    """Let the tasks of all services that are being removed have ended."""
    for service in [each for each in tx.services if each.pending_delete]:
        for task in list(tx.tasks.of_service(service.id)):
            tx.remove(task)
        tx.remove(service)


async def test_a_stack_of_services_alone_goes_with_its_tasks(operators: Dashboard) -> None:
    """Nothing but its tasks is to be waited for: no network that these use, and no secret."""
    scene = operators.scene
    network = next(each for each in scene.store.view.networks if each.name == "blog_default")
    shared = msgspec.structs.replace(network, spec=msgspec.structs.replace(network.spec, labels={}))
    await scene.store.update(lambda tx: tx.put(shared))
    page = await operators.open("/stacks/blog")
    await button(page, "Remove").click()
    await page.get_by_label("Type blog to go on").fill("blog")
    async with page.expect_request(lambda request: request.url.split("?")[0].endswith("/tasks")) as asked_once:
        await confirm(page, "Remove").click()
    await (await asked_once.value).response()
    async with page.expect_request(lambda request: request.url.split("?")[0].endswith("/tasks")):
        await expect(page.get_by_role("dialog").get_by_text("Working …")).to_be_visible()
    await scene.store.update(leave)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("table", name="Stacks")).not_to_contain_text("blog")


@long
async def test_a_stack_is_removed_as_its_tasks_go(operators: Dashboard) -> None:
    page, scene = await operators.open("/stacks/blog"), operators.scene
    may_go = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_go.wait()
        await route.continue_()

    await page.route("**/networks/*", hold)
    await button(page, "Remove").click()
    await page.get_by_label("Type blog to go on").fill("blog")
    await confirm(page, "Remove").click()
    await expect(page.get_by_role("dialog").get_by_text("Working …")).to_be_visible()
    may_go.set()
    with scene.store.watch() as changes:
        while not all(scene.service(name).pending_delete for name in ("blog_web", "blog_db")):
            await changes.next()

    await scene.store.update(leave)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("table", name="Stacks")).not_to_contain_text("blog")
    assert "blog_default" not in {network.name for network in scene.store.view.networks}


async def test_of_two_editors_the_later_is_told(operators: Dashboard) -> None:
    page, scene = await operators.open("/services/reports"), operators.scene
    await button(page, "Update image").click()
    await page.get_by_role("textbox", name="Image").fill("acme/reports:4")
    theirs = scene.service("reports")
    container = theirs.spec.task_template.container_spec
    assert container is not None
    other = msgspec.structs.replace(container, image="acme/reports:9")
    template = msgspec.structs.replace(theirs.spec.task_template, container_spec=other)
    await scene.store.update(
        lambda tx: tx.put(
            msgspec.structs.replace(theirs, spec=msgspec.structs.replace(theirs.spec, task_template=template))
        )
    )
    await confirm(page, "Update").click()
    said = page.get_by_role("alert")
    await expect(said).to_contain_text("Somebody has changed reports meanwhile")
    row = said.get_by_role("row", name="Image")
    await expect(row.get_by_role("cell")).to_have_text(["acme/reports:3", "acme/reports:9", "acme/reports:4"])
    assert image(scene.service("reports")) == "acme/reports:9"


async def test_a_second_change_does_not_meet_ones_own(operators: Dashboard) -> None:
    """What a button does next begins with what it did last, whatever the feed has brought: here it brings nothing."""
    page, scene = await operators.open(), operators.scene
    await page.context.route("**/swarm/overview/feed?*", lambda _: asyncio.Event().wait())
    await operators.go(page, "/services/reports")
    for count in ("5", "6", "7"):
        await asked(page, "Scale", f"service scale reports={count}", Tasks=count)
    await asked(page, "Update image", "service update --image acme/reports:4 reports", Image="acme/reports:4")
    assert (replicas(scene.service("reports")), image(scene.service("reports"))) == (7, "acme/reports:4")
    await operators.go(page, "/nodes/w1")
    for value in ("ssd", "hdd"):
        await asked(page, "Label", f"node update --label-add disk={value} w1", Label="disk", Value=value)
    await asked(page, "Pause", "node update --availability pause w1")
    node = scene.node("w1")
    assert (node.spec.labels["disk"], node.spec.availability) == ("hdd", "pause")


async def test_a_dialog_that_is_closed_too_early_goes_on(operators: Dashboard) -> None:
    page, scene = await operators.open("/services/reports"), operators.scene
    go_on = asyncio.Event()

    async def hold(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await page.context.route("**/services/*/update?*", hold)
    await button(page, "Scale").click()
    await page.get_by_role("spinbutton", name="Tasks").fill("5")
    await confirm(page, "Scale").click()
    await expect(page.get_by_role("dialog").get_by_text("Working …")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(button(page, "Scale")).to_have_attribute("title", "what was asked for last is not done yet")
    await expect(button(page, "Scale")).to_be_disabled()
    go_on.set()
    await expect(button(page, "Scale")).to_be_enabled()
    await expect(page.locator("[data-standing]")).to_contain_text("/5")
    assert replicas(scene.service("reports")) == 5


async def test_a_node_is_drained(operators: Dashboard) -> None:
    page = await operators.open("/nodes/w1")
    await button(page, "Drain").click()
    await expect(page.get_by_role("dialog").locator("code").last).to_have_text("swarm-manager node drain w1")
    await page.get_by_label("Type w1 to go on").fill("w1")
    await confirm(page, "Drain").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator(".screen-head")).to_contain_text("drain")
    assert operators.scene.node("w1").spec.availability == "drain"


async def test_a_node_is_promoted_by_an_admin_alone(scene: Scene, browser: Browser) -> None:
    async with dashboard_of(scene, browser, "operator") as dashboard:
        page = await dashboard.open("/nodes/w1")
        await expect(button(page, "Promote")).to_be_disabled()
    async with dashboard_of(scene, browser, "admin") as dashboard:
        page = await dashboard.open("/nodes/w1")
        await button(page, "Promote").click()
        await expect(page.get_by_role("dialog").locator("code").last).to_have_text("swarm-manager node promote w1")
        await confirm(page, "Promote").click()
        await expect(page.get_by_role("alert")).to_contain_text("the store of this cluster is a file")
        await dashboard.go(page, "/nodes/m1")
        await expect(button(page, "Demote")).to_be_enabled()


async def test_all_of_it_by_the_keyboard(operators: Dashboard) -> None:
    page = await operators.open()
    await page.keyboard.press("g")
    await page.keyboard.press("s")
    await expect(page.get_by_role("heading", name="Services")).to_be_visible()
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await expect(page.locator("main tbody tr").nth(1).locator("a").first).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-standing]")).to_be_visible()
    await page.keyboard.press("l")
    await expect(page.locator("[data-log]")).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("repo")
    await expect(page.get_by_role("option", name="reports service")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="reports", exact=True)).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_change_elsewhere_takes_no_focus(operators: Dashboard) -> None:
    page, scene = await operators.open("/services/reports"), operators.scene
    await button(page, "Scale").focus()
    await scene.scale("reports", 6)
    await expect(page.locator("[data-standing]")).to_contain_text("6/6")
    await expect(button(page, "Scale")).to_be_focused()


async def test_an_administrator_sees_who_may_what(scene: Scene, browser: Browser) -> None:
    key = certificate_request(new_key()).decode()
    made = Client(scene.cluster.api)
    await made.make(
        "/swarm/client-certificates/create", {"Name": "grafana", "Role": "viewer", "CertificateRequest": key}
    )
    async with dashboard_of(scene, browser, "admin") as dashboard:
        page = await dashboard.open("/access")
        await expect(page.get_by_role("table", name="Audit log")).to_contain_text("/swarm/client-certificates/create")
        await page.get_by_role("button", name="Revoke the certificate of grafana").click()
        await page.get_by_label("Type grafana to go on").fill("grafana")
        await confirm(page, "Revoke").click()
        await expect(page.get_by_role("table", name="Certificates")).to_contain_text("revoked")
        log = page.get_by_role("table", name="Audit log")
        await expect(log).to_contain_text("DELETE /swarm/client-certificates/")
        await expect(log).not_to_contain_text("GET ")
        await page.get_by_role("radio", name="all").check()
        await expect(log).to_contain_text("GET /swarm/audit")
        assert dashboard.complaints == []
    async with dashboard_of(scene, browser, "operator") as dashboard:
        page = await dashboard.open()
        await expect(page.get_by_role("link", name="Access")).to_have_count(0)
        await dashboard.go(page, "/access")
        await expect(page.get_by_role("alert")).to_contain_text("needs the role admin")
