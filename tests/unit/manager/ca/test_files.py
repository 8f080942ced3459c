"""The manager's own certificate, in its files."""

from pathlib import Path

from common.clock import SystemClock
from common.tls import ROLE_MANAGER
from manager.ca.authority import Authority, create_root
from manager.ca.files import ManagerFiles
from tests.unit.manager.ca.test_authority import DAY


def test_the_managers_own_certificate_is_renewed_in_place(tmp_path: Path) -> None:
    files = ManagerFiles(tmp_path)
    authority = Authority(create_root("cluster1", SystemClock().now()))
    first = files.issue_own(authority, "m1", ["10.0.0.1"], 90 * DAY, SystemClock())
    second = files.issue_own(authority, "m1", ["10.0.0.1"], 90 * DAY, SystemClock())
    assert first.serial != second.serial
    assert files.node.identity() == second
    assert (second.node_id, second.role) == ("m1", ROLE_MANAGER)
    assert sorted(p.name for p in files.directory.iterdir()) == ["node.pem", "root.crt"]


def test_whether_the_managers_certificate_is_for_names(tmp_path: Path) -> None:
    files = ManagerFiles(tmp_path)
    authority = Authority(create_root("cluster1", SystemClock().now()))
    files.issue_own(authority, "m1", ["10.0.0.1", "fd00::1", "alpha.example"], 90 * DAY, SystemClock())
    assert files.covers(["10.0.0.1", "fd00:0:0::1", "alpha.example", "localhost"])
    assert files.covers([])
    assert not files.covers(["10.0.0.1", "10.0.0.2"])
    assert not files.covers(["beta.example"])
    files.node.node.write_text("no certificate")
    assert not files.covers([])
    files.node.node.unlink()
    assert not files.covers([])
