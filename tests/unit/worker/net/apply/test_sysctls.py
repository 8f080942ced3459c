"""Settings are set where they differ, and the host's own come back when the worker leaves."""

from pathlib import Path

import pytest

from worker.net.apply.sysctls import Sysctls

GLOBAL, OF_LINK = "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/oc-gw/route_localnet"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for path in (GLOBAL, OF_LINK):
        (tmp_path / "proc" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc" / path).write_text("0\n")
    return tmp_path / "proc"


def test_only_what_differs_is_set_and_told(tmp_path: Path, proc: Path):
    sysctls = Sysctls(tmp_path / "memory", proc)
    assert sysctls.apply({GLOBAL: "1", OF_LINK: "0"}) == ("net.bridge.bridge-nf-call-iptables was 0",)
    assert (proc / GLOBAL).read_text() == "1"
    assert sysctls.apply({GLOBAL: "1", OF_LINK: "0"}) == ()


def test_a_link_that_is_not_there_yet_is_waited_for(tmp_path: Path, proc: Path):
    sysctls = Sysctls(tmp_path / "memory", proc)
    missing = "net/ipv4/conf/oc-new/proxy_arp"
    assert sysctls.apply({missing: "1"}) == ()
    (proc / missing).parent.mkdir()
    (proc / missing).write_text("0")
    assert sysctls.apply({missing: "1"}) == ("net.ipv4.conf.oc-new.proxy_arp was 0",)


def test_leaving_puts_back_what_the_host_had_first_over_restarts(tmp_path: Path, proc: Path):
    Sysctls(tmp_path / "memory", proc).apply({GLOBAL: "1", OF_LINK: "1"})
    again = Sysctls(tmp_path / "memory", proc)
    again.apply({GLOBAL: "2"})
    again.restore()
    assert (proc / GLOBAL).read_text() == "0"
    assert not (tmp_path / "memory").exists()
    again.restore()


def test_a_link_that_goes_while_its_settings_are_read_is_none(
    tmp_path: Path, proc: Path, monkeypatch: pytest.MonkeyPatch
):
    """The kernel lets a setting be opened, and then says that it is not there."""

    def gone(*_: object) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr("worker.net.apply.sysctls.os.read", gone)
    assert Sysctls(tmp_path / "memory", proc).apply({OF_LINK: "1"}) == ()


def test_what_cannot_be_set_is_said_once_and_is_no_change(
    tmp_path: Path, proc: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """It is tried every second."""
    sysctls = Sysctls(tmp_path / "memory", proc)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", refuse)
        for _ in range(3):
            assert sysctls.apply({OF_LINK: "1"}) == ()
    assert caplog.messages == ["cannot set net.ipv4.conf.oc-gw.route_localnet to 1: Permission denied"]
    assert sysctls.apply({OF_LINK: "1"}) == ("net.ipv4.conf.oc-gw.route_localnet was 0",)


def test_a_full_disk_leaves_the_host_as_is_and_the_worker_runs(
    tmp_path: Path, proc: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    memory = tmp_path / "memory"
    sysctls = Sysctls(memory, proc)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("worker.net.apply.sysctls.write_private", full)
        for _ in range(3):
            assert sysctls.apply({GLOBAL: "1"}) == ()
    assert (proc / GLOBAL).read_text() == "0\n"
    why = f"as {memory} cannot record its previous value 0: No space left on device"
    assert caplog.messages == [f"cannot set net.bridge.bridge-nf-call-iptables {why}"]
    assert sysctls.apply({GLOBAL: "1"}) == ("net.bridge.bridge-nf-call-iptables was 0",)


def test_a_memory_that_a_crash_has_spoilt_is_said_once(tmp_path: Path, proc: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "memory").write_bytes(b"{")
    sysctls = Sysctls(tmp_path / "memory", proc)
    assert sysctls.apply({GLOBAL: "1"})
    assert "leaving will not put back what it held" in caplog.text
    sysctls.restore()
    assert (proc / GLOBAL).read_text() == "0"
