"""`swarm-manager dashboard token`: what is printed, and what the manager gets."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from common.http.dashboard_token import parse_token
from common.model.client import Forbidden
from manager.cli import cli
from manager.cli.client import Client
from manager.cli.dashboard.commands import row

RECORD = {
    "ID": "token-0123456789ab",
    "Name": "alice",
    "Role": "viewer",
    "NotAfter": "2026-12-01T00:00:10Z",
    "RevokedAt": "0001-01-01T00:00:00Z",
    "IssuedBy": "uid 0 at unix",
    "RevokedBy": "",
    "Forbidden": [],
}
ENDS = 1796083210.0


def test_a_row_says_what_became_of_a_token() -> None:
    assert row(RECORD, ENDS - 3600 * 24 * 3)["Status"] == "Valid for 3 days"
    assert str(row(RECORD, ENDS + 60)["Status"]).startswith("Expired")
    revoked = {**RECORD, "RevokedAt": "2026-11-30T00:00:10Z"}
    assert row(revoked, ENDS)["Status"] == "Revoked 24 hours ago"
    assert row(RECORD, ENDS)["ID"] == "0123456789ab"
    assert row({**RECORD, "Forbidden": ["devices", "privileged"]}, ENDS)["Forbidden"] == "devices,privileged"


def test_what_is_forbidden_is_ordered_as_of_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered: list[Any] = []

    async def post(_: Client, path: str, body: Any) -> Any:
        ordered.append((path, body["Name"], body["Role"], body["Forbidden"]))
        return {"NotAfter": "2026-12-01T00:00:10Z", "Dashboards": []}

    monkeypatch.setattr(Client, "post", post)
    for words in (["--forbid", "devices,privileged", "--forbid", "devices"], ["--forbid", "all"], []):
        made = CliRunner().invoke(cli, ["dashboard", "token", "create", "ci", "--role", "operator", *words])
        assert made.exit_code == 0, made.output
    path = "/swarm/dashboard-tokens/create"
    assert ordered == [
        (path, "ci", "operator", ["devices", "privileged"]),
        (path, "ci", "operator", sorted(Forbidden)),
        (path, "ci", "operator", []),
    ]
    wrong = CliRunner().invoke(cli, ["dashboard", "token", "create", "ci", "--forbid", "everything"])
    assert "expected some of privileged, host-mounts" in wrong.output


def test_no_manager_no_token(tmp_path: Path) -> None:
    """A token that nobody knows is not printed."""
    result = CliRunner().invoke(cli, ["-H", f"unix://{tmp_path}/none.sock", "dashboard", "token", "create", "alice"])
    assert result.exit_code == 1
    assert [word for word in result.output.split() if parse_token(word)] == []
