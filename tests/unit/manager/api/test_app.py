"""What any request is answered."""

from typing import Any

import pytest

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
