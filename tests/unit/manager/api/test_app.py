"""What any request is answered."""

from typing import Any

import pytest

from manager.api.leader.quorum import SingleManager
from manager.store.backend import Deposed, Unknown
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import ApiCluster


async def test_unexpected_failures_are_numbered_and_say_nothing_else(
    client: Client, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down() -> Any:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr(cluster.clock, "now", break_down)
    status, message = await client.error("GET", "/info")
    assert status == 500
    assert "ZeroDivisionError" not in message
    assert "the inside" not in message
    incident = message.split()[3].rstrip(":")
    assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Deposed("another manager leads"), "no change can be made: 1 of 3 managers answers"),
        (Unknown("this may or may not be stored"), "this may or may not be stored"),
    ],
)
async def test_a_change_without_a_majority_is_not_called_undone(
    client: Client, cluster: ApiCluster, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    async def lose(*_: object) -> None:
        raise error

    monkeypatch.setattr(SingleManager, "trouble", "no change can be made: 1 of 3 managers answers")
    monkeypatch.setattr(cluster.store, "update", lose)
    assert await client.error("POST", "/configs/create", {"Name": "c", "Data": "eA=="}) == (503, said)
