"""Records of dashboard tokens: made of a digest, listed without it, revoked by name or id."""

from __future__ import annotations

import msgspec
import pytest

from common.http.dashboard_token import new_token
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster

PATH = "/swarm/dashboard-tokens"


def order(name: str = "alice", **other: object) -> dict[str, object]:
    made = new_token()
    return {"ID": made.id, "Digest": made.digest, "Name": name, "Role": "viewer", **other}


async def test_the_store_has_a_digest_and_no_answer_has_it(cluster: ApiCluster, client: Client) -> None:
    asked = order(Role="operator")
    assert (await client.ask("POST", f"{PATH}/create", asked))[0] == 201
    (record,) = cluster.store.view.dashboard_tokens
    assert (record.digest, record.role) == (asked["Digest"], "operator")
    (listed,) = await client.get(PATH)
    assert (listed["ID"], listed["Name"], listed["Role"]) == (asked["ID"], "alice", "operator")
    assert record.digest not in str(listed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ID": "token-x"},
        {"ID": "0123456789ab" * 3},
        {"Digest": "x"},
        {"Name": ""},
        {"Role": "root"},
        {"Lifetime": 1},
    ],
)
async def test_an_order_that_cannot_be_is_refused(
    cluster: ApiCluster, client: Client, wrong: dict[str, object]
) -> None:
    assert (await client.ask("POST", f"{PATH}/create", order(**wrong)))[0] == 400  # type: ignore[arg-type]
    assert list(cluster.store.view.dashboard_tokens) == []


async def test_an_id_is_given_once(cluster: ApiCluster, client: Client) -> None:
    """Whoever knows an id cannot put a secret of their own in its place."""
    asked = order()
    await client.ask("POST", f"{PATH}/create", asked)
    assert (await client.ask("POST", f"{PATH}/create", order("mallory", ID=asked["ID"])))[0] == 409
    assert [each.name for each in cluster.store.view.dashboard_tokens] == ["alice"]


async def test_tokens_are_revoked_by_name_or_id(cluster: ApiCluster, client: Client) -> None:
    first, second, other = order(), order(), order("bob")
    for each in (first, second, other):
        await client.ask("POST", f"{PATH}/create", each)
    status, revoked = await client.ask("DELETE", f"{PATH}/alice")
    assert (status, {each["ID"] for each in revoked}) == (200, {first["ID"], second["ID"]})
    short = str(other["ID"]).removeprefix("token-")
    assert (await client.ask("DELETE", f"{PATH}/{short}"))[0] == 200
    assert all(each.revoked_at and each.revoked_by for each in cluster.store.view.dashboard_tokens)
    for gone in ("alice", short, "nobody"):
        assert (await client.ask("DELETE", f"{PATH}/{gone}"))[0] == 404


async def test_records_that_ended_long_ago_are_forgotten(cluster: ApiCluster, client: Client) -> None:
    await client.ask("POST", f"{PATH}/create", order("old"))
    (record,) = cluster.store.view.dashboard_tokens
    ended = msgspec.structs.replace(record, not_after=cluster.clock.now() - 91 * 86400)
    await cluster.store.update(lambda tx: tx.put(ended))
    await client.ask("POST", f"{PATH}/create", order("new"))
    assert [each.name for each in cluster.store.view.dashboard_tokens] == ["new"]
