"""Plan and deploy: files written or chosen in the page, a plan in words, and a deploy of what the plan has shown."""

from pathlib import Path

from playwright.async_api import FilePayload, Page, expect

from tests.e2e.ci import long
from tests.web.conftest import SHARED, Dashboard
from tests.web.test_actions import button

pytestmark = SHARED

TEXT = "services:\n  web:\n    image: shop/web:9\n    deploy: {replicas: 3}\n"


async def write(page: Page, text: str) -> None:
    """Write a compose file whose images no registry is asked for, as there is none."""
    await page.get_by_label("Text of docker-compose.yaml").fill(text)
    await page.get_by_label("ask registries for digests").select_option("never")


async def show(page: Page) -> None:
    await page.get_by_role("button", name="Show the plan").click()


async def test_a_stack_is_planned_and_deployed(operators: Dashboard) -> None:
    page = await operators.open("/stacks")
    await button(page, "Deploy a stack").click()
    await page.get_by_label("Name of the stack").fill("fresh")
    await write(page, TEXT)
    await show(page)
    plan = page.locator("[data-plan]")
    await expect(plan).to_contain_text("Plan: 2 to create, 0 to change, 0 to remove.")
    await expect(plan).to_contain_text("create service fresh_web: shop/web:9, 3 replicas")
    assert not any(each.spec.name == "fresh_web" for each in operators.scene.store.view.services)
    deploy = page.get_by_role("button", name="Deploy", exact=True)
    await expect(deploy).to_be_disabled()
    await page.get_by_label("Type fresh to deploy it").fill("fresh")
    await deploy.click()
    await expect(page.get_by_role("region", name="Deployed")).to_contain_text("Creating service fresh_web")
    await expect(page.get_by_role("table", name="Services")).to_contain_text("0/3")
    assert operators.scene.service("fresh_web").spec.mode.replicated is not None
    assert operators.complaints == []


@long
async def test_what_changes_is_shown_field_by_field(operators: Dashboard) -> None:
    page = await operators.open("/stacks/blog")
    await button(page, "Plan and deploy").click()
    await write(page, "services:\n  web: {image: 'ghost:6', deploy: {replicas: 3}}\n")
    await page.get_by_label("remove services that are no longer in the files").check()
    await show(page)
    plan = page.locator("[data-plan]")
    await expect(plan).to_contain_text("remove service blog_db: stops its tasks")
    await expect(plan).to_contain_text("change service blog_web: restarts its tasks")
    await expect(plan).to_contain_text("TaskTemplate.ContainerSpec.Image ghost:5.9 → ghost:6")
    await expect(page.locator(".editor-end code")).to_have_text(
        "swarm-manager stack plan -c docker-compose.yaml --prune --resolve-image never blog"
    )


async def test_what_was_shown_and_is_not_true_is_not_deployed(operators: Dashboard) -> None:
    page = await operators.open("/stacks/blog/plan")
    await write(page, "services:\n  web: {image: 'ghost:6', deploy: {replicas: 3}}\n")
    await show(page)
    await expect(page.locator("[data-plan]")).to_be_visible()
    await operators.scene.scale("blog_web", 4)
    await expect(page.get_by_text("The stack has changed since.")).to_be_visible()
    await page.get_by_label("Type blog to deploy it").fill("blog")
    await page.get_by_role("button", name="Deploy", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("look at the plan again")


async def test_a_mistake_leads_to_its_line(operators: Dashboard) -> None:
    page = await operators.open("/stacks/blog/plan")
    await write(page, "services:\n  web:\n    image: ghost:6\n    imagine: 1\n")
    await show(page)
    await page.get_by_role("button", name="docker-compose.yaml:4:5").click()
    text = page.get_by_label("Text of docker-compose.yaml")
    await expect(text).to_be_focused()
    selected = "(each) => each.value.slice(each.selectionStart, each.selectionEnd)"
    assert await text.evaluate(selected) == "imagine: 1"


async def test_files_are_sent_along(operators: Dashboard) -> None:
    page = await operators.open("/stacks/blog/plan")
    await write(
        page, "services:\n  web: {image: 'ghost:6', configs: [page]}\nconfigs: {page: {file: html/index.html}}\n"
    )
    await show(page)
    await expect(page.get_by_role("alert")).to_contain_text("cannot read html/index.html: it was not sent along")
    await page.get_by_label("Add files").set_input_files(
        [FilePayload(name="index.html", mimeType="text/html", buffer=b"<h1>hello</h1>")]
    )
    await page.get_by_label("Path").fill("html/index.html")
    await show(page)
    await expect(page.locator("[data-plan]")).to_contain_text("create config blog_page")
    assert await page.locator("h1").all_inner_texts() == ["Plan of blog"]


@long
async def test_what_is_no_text_is_not_taken(operators: Dashboard, tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\xff")
    page = await operators.open("/stacks/blog/plan")
    await page.get_by_label("Add files").set_input_files(tmp_path / "logo.png")
    await expect(page.get_by_role("alert")).to_contain_text("logo.png is not UTF-8 text")


@long
async def test_what_was_written_stays_when_one_looks_elsewhere(operators: Dashboard) -> None:
    page = await operators.open("/stacks/blog/plan")
    await write(page, TEXT)
    await operators.follow(page, "/nodes")
    await operators.follow(page, "/stacks/blog/plan")
    await expect(page.get_by_label("Text of docker-compose.yaml")).to_have_value(TEXT)


@long
async def test_a_viewer_is_told_how(dashboard: Dashboard) -> None:
    page = await dashboard.open("/stacks")
    await expect(button(page, "Deploy a stack")).to_be_disabled()
    await dashboard.go(page, "/stacks/blog/plan")
    await expect(page.locator("main")).to_contain_text("needs the role operator")
