"""Requests that a page of another site sends are refused, whatever they ask for."""

import pytest

from common.model.client import Role
from manager.api.access.roles import Caller
from manager.api.access.sites import check_site
from manager.api.app import RESOURCES
from manager.api.call import Call
from manager.api.errors import EngineError
from manager.api.leader.forward import _request_head
from manager.api.router import Route
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster

ALL_ROUTES = [route for resource in RESOURCES for route in resource.ROUTES]
OVER_TLS = Caller("alice", "192.0.2.7:4000", Role.OPERATOR, serial="ab")
ON_SOCKET = Caller("uid 0", "unix", Role.ADMIN, uid=0)


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
async def test_each_route_refuses_other_sites(cluster: ApiCluster, client: Client, route: Route) -> None:
    path = route.pattern.replace("{", "").replace("+}", "").replace("}", "")
    for headers in (
        {"sec-fetch-site": "cross-site", "content-type": "text/plain"},
        {"host": "manager:2376", "origin": "https://evil.example", "content-type": "text/plain"},
    ):
        status, message = await client.error(route.method, path, b"{}", headers=headers)
        assert status == 403
        assert "a page of another site sent this request" in message
        assert (cluster.audited[-1].path, cluster.audited[-1].status) == (path, 403)


def site(caller: Caller, headers: dict[str, str], repeated: dict[str, tuple[str, ...]] | None = None) -> str:
    """Return what is said of a request, nothing where it is taken."""
    try:
        check_site(Call("POST", "/networks/prune", headers=headers, repeated=repeated or {}, caller=caller))
    except EngineError as error:
        return f"{error.answered} {error.message}"
    return ""


@pytest.mark.parametrize("said", ["same-origin", "none"])
def test_own_pages_and_typed_addresses_are_taken(said: str) -> None:
    assert site(OVER_TLS, {"sec-fetch-site": said}) == ""


@pytest.mark.parametrize("said", ["cross-site", "same-site", "", "SAME-ORIGIN", "same-origin, none"])
def test_other_sites_are_refused(said: str) -> None:
    assert f"(Sec-Fetch-Site: {said})" in site(OVER_TLS, {"sec-fetch-site": said})


def test_clients_that_are_not_browsers_are_taken() -> None:
    assert site(OVER_TLS, {"host": "manager:2376"}) == site(ON_SOCKET, {}) == ""


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("manager:2376", "https://manager:2376"),
        ("MANAGER:2376", "https://manager:2376"),
        ("manager", "https://manager"),
        ("manager:443", "https://manager"),
        ("[2001:db8::1]:2376", "https://[2001:db8::1]:2376"),
    ],
)
def test_an_origin_of_its_own_is_taken(host: str, origin: str) -> None:
    assert site(OVER_TLS, {"host": host, "origin": origin}) == ""


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://manager:2376",
        "https://manager",
        "https://manager:2377",
        "https://manager:99999",
        "https://evil@manager:2376",
        "https://manager:2376/",
        "https://manager.evil.example:2376",
        "ftp://manager:2376",
        "https://[manager:2376",
    ],
)
def test_any_other_origin_is_refused(origin: str) -> None:
    assert f"(Origin: {origin})" in site(OVER_TLS, {"host": "manager:2376", "origin": origin})


def test_without_a_host_no_origin_is_its_own() -> None:
    assert site(OVER_TLS, {"origin": "https://"}) != ""
    assert site(OVER_TLS, {"origin": "https://manager"}) != ""


def test_what_forwards_to_the_socket_may_have_any_scheme() -> None:
    for scheme in ("http", "https"):
        assert site(ON_SOCKET, {"host": "dash.example", "origin": f"{scheme}://dash.example"}) == ""
        assert site(ON_SOCKET, {"host": "dash.example", "origin": f"{scheme}://other.example"}) != ""


def test_of_several_headers_each_is_looked_at() -> None:
    repeated: dict[str, tuple[str, ...]] = {"sec-fetch-site": ("cross-site", "same-origin")}
    assert "cross-site" in site(OVER_TLS, {"sec-fetch-site": "same-origin"}, repeated)


def test_another_manager_does_not_look_again() -> None:
    """To the leader the host is its own; where the client is, this was looked at."""
    headers = {"host": "m2:2376", "origin": "https://m2:2376", "sec-fetch-site": "same-origin", "swarm-role": "viewer"}
    assert site(OVER_TLS, headers) == ""
    head = _request_head(Call("POST", "/networks/prune", headers=headers, caller=OVER_TLS), chunked=False).decode()
    assert "swarm-role: viewer" in head
    assert "origin" not in head
    assert "sec-fetch-site" not in head
