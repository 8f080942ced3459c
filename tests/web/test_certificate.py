"""The same pages over TCP, for a browser that has a client's certificate: the file that `client-cert --p12` writes."""

from pathlib import Path

from playwright.async_api import Browser, expect

from common.tls import browsers_file
from tests.fakes.api_tls import tls_api
from tests.web.conftest import SHARED
from tests.web.scene import Scene

pytestmark = SHARED

PASSWORD = "p12"


async def test_a_browser_with_a_certificate_needs_no_key(scene: Scene, browser: Browser, tmp_path: Path) -> None:
    async with tls_api(scene.cluster, tmp_path) as api:
        files = await api.client("alice", "operator")
        key, certificate, root = ((files / name).read_bytes() for name in ("key.pem", "cert.pem", "ca.pem"))
        file = tmp_path / "browser.p12"
        file.write_bytes(browsers_file("alice", key, certificate, root, PASSWORD))
        context = await browser.new_context(
            ignore_https_errors=True,
            client_certificates=[{"origin": api.url, "pfxPath": str(file), "passphrase": PASSWORD}],
        )
        try:
            page = await context.new_page()
            await page.goto(f"{api.url}/dashboard/services/reports")
            await expect(page.locator("[data-standing]")).to_contain_text("4/4")
            await expect(page.locator(".bar .role")).to_have_text("operator")
            await scene.scale("reports", 6)
            await expect(page.locator("[data-standing]")).to_contain_text("6/6")
        finally:
            await context.close()
