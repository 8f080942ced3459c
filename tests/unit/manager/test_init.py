"""`start` of a manager that runs, with other addresses or none."""

import shutil
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from common.process.daemon import Daemon
from common.tls import CredentialFiles
from manager.ca.keyring import KeyFile, new_unlock_key
from manager.config import DataDir, EtcdConfig
from manager.init import daemon_of
from manager.main import cli


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def data() -> Iterator[DataDir]:
    """Start a manager whose folder's path is short enough for a socket's."""
    folder = Path(tempfile.mkdtemp(prefix="start"))
    data = DataDir(folder / "data")
    code, said = swarm("init", data, "--advertise-addr", f"127.0.0.1:{unused_port()}", "-H", api(data))
    assert code == 0, said
    yield data
    daemon_of(data).stop()
    shutil.rmtree(folder)


def swarm(command: str, data: DataDir, *options: str) -> tuple[int, str]:
    """Run a command about a manager; return its exit code and what it printed."""
    result = CliRunner().invoke(cli, [command, "--data-dir", str(data.path), *options])
    return result.exit_code, result.output


def api(data: DataDir) -> str:
    return f"unix://{data.path.parent}/api.sock"


def answers(host: str) -> bool:
    return CliRunner().invoke(cli, ["-H", host, "node", "ls"]).exit_code == 0


def test_a_manager_that_runs_is_left_alone(data: DataDir) -> None:
    pid = daemon_of(data).pid()
    assert swarm("start", data) == (0, "")
    assert swarm("start", data, "-H", api(data)) == (0, "")
    assert daemon_of(data).pid() == pid


def test_the_api_listens_where_it_is_told_to_from_now_on(data: DataDir) -> None:
    tcp = f"tcp://127.0.0.1:{unused_port()}"
    said = f"The API is at {tcp}, for clients with a certificate: 'swarm-manager client-cert' makes one.\n"
    assert swarm("start", data, "-H", api(data), "-H", tcp, "--tls-san", "swarm.example") == (0, said)
    daemon_of(data).stop()
    assert swarm("start", data) == (0, "")
    assert answers(api(data))
    with socket.create_connection(("127.0.0.1", int(tcp.rpartition(":")[2])), 5):
        assert (data.load().hosts, data.load().tls_names) == ((api(data), tcp), ("swarm.example",))


def ask_dashboard(data: DataDir, address: str, token: str) -> tuple[int, str]:
    """Ask a shared dashboard who asks, with a token; return the status and what it says."""
    trust = ssl.create_default_context(cafile=CredentialFiles(data.certificates).root)
    request = urllib.request.Request(f"{address}/swarm/caller", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_dashboard_is_shared_from_now_on(data: DataDir) -> None:
    """Until it is told to be nowhere; a token opens it until it is revoked."""
    port = unused_port()
    address = f"https://127.0.0.1:{port}"
    code, said = swarm("start", data, "--dashboard-host", f"tcp://127.0.0.1:{port}")
    assert (code, f"The dashboard is at {address}/dashboard/: " in said) == (0, True), said
    made = CliRunner().invoke(cli, ["-H", api(data), "dashboard", "token", "create", "alice"]).output
    (link,) = [line for line in made.splitlines() if line.startswith("For a browser: ")]
    token = link.partition("#")[2]
    assert link == f"For a browser: {address}/dashboard/#{token}"
    status, caller = ask_dashboard(data, address, token)
    assert (status, '"Name":"alice"' in caller, '"Role":"viewer"' in caller) == (200, True, True)
    listed = CliRunner().invoke(cli, ["-H", api(data), "dashboard", "token", "ls"]).output
    assert ("alice" in listed, "Valid for 4 weeks" in listed, token in listed) == (True, True, False)
    assert CliRunner().invoke(cli, ["-H", api(data), "dashboard", "token", "rm", "alice"]).exit_code == 0
    assert ask_dashboard(data, address, token)[0] == 401
    assert swarm("start", data, "--dashboard-host", "none")[0] == 0
    assert data.load().dashboard is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_one_that_cannot_listen_there_goes_on_as_before(data: DataDir) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = swarm("start", data, "-H", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert (code, "ended while starting" in said, "in use" in said.lower()) == (1, True, True)
    assert said.endswith("; it runs again as it did before\n")
    assert data.load().hosts == (api(data),)
    assert answers(api(data))


def test_names_are_checked_before_anything_is_stopped(data: DataDir) -> None:
    pid = daemon_of(data).pid()
    assert swarm("start", data, "--tls-san", "not a name")[0] == 1
    assert swarm("start", data, "-H", "tcp://0.0.0.0")[0] == 1
    assert daemon_of(data).pid() == pid


def test_a_manager_that_waits_for_others_says_so(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon_of(data).stop()
    etcd = EtcdConfig(peer_addr="127.0.0.1:2380", cluster_id="c1", peers=("n1=https://127.0.0.1:2380",))
    before = data.load()
    monkeypatch.setattr(Daemon, "start", lambda *_: None)  # says that it is up, and has no API yet
    data.save(msgspec.structs.replace(before, etcd=etcd))
    code, said = swarm("start", data)
    assert (code, "waits for most of the managers' hosts to be up" in said) == (0, True), said
    assert str(daemon_of(data).log_file) in said
    data.save(msgspec.structs.replace(before, etcd=msgspec.structs.replace(etcd, endpoints=("http://127.0.0.1:1",))))
    assert "waits for the etcd at its --etcd-endpoints" in swarm("start", data)[1]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(api(data).removeprefix("unix://"))
        listening.listen()
        assert swarm("start", data) == (0, "")


def test_a_manager_that_starts_locked_says_what_it_waits_for(data: DataDir) -> None:
    daemon_of(data).stop()
    file = KeyFile(data.key)
    file.save(file.load().locked_with(new_unlock_key()))
    for _ in range(2):  # and so does one that runs already
        code, said = swarm("start", data)
        assert code == 0, said
        assert "waits to be unlocked" in said
        assert "'swarm-manager unlock'" in said


def test_a_manager_that_was_unlocked_waits_for_nothing(data: DataDir) -> None:
    assert CliRunner().invoke(cli, ["-H", api(data), "cluster", "update", "--autolock"]).exit_code == 0
    assert swarm("start", data) == (0, "")
