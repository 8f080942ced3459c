"""Where the API is, by what the user wrote."""

import os
from pathlib import Path

import pytest

from common.errors import InvalidArgument
from manager.cli.endpoint import Endpoint, reached
from manager.cli.failures import CannotConnect

CERTIFICATES = Path("/certificates")


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        (Endpoint("unix:///run/docker.sock"), "http://manager"),
        (Endpoint("ssh://host", tunnel="/tmp/tunnel"), "http://manager"),
        (Endpoint("tcp://host"), "http://host:2375"),
        (Endpoint("tcp://host:99"), "http://host:99"),
        (Endpoint("tcp://host", CERTIFICATES), "https://host:2376"),
        (Endpoint("https://host"), "https://host:2376"),
        (Endpoint("tcp://[::1]:99"), "http://[::1]:99"),
    ],
)
def test_paths_are_appended_to_a_base(endpoint: Endpoint, base: str) -> None:
    assert endpoint.base == base


def test_a_unix_socket_is_a_path() -> None:
    assert Endpoint("unix:///run/docker.sock").socket == "/run/docker.sock"
    assert Endpoint("tcp://host").socket is None
    assert Endpoint("ssh://host", tunnel="/t").socket == "/t"


@pytest.mark.parametrize(
    "url",
    [
        *("host", "ftp://host", "tcp://", "tcp://host:port", "tcp://host:99999", "tcp://[::1"),
        *("tcp://a..b:2376", f"tcp://{'a' * 64}.example"),  # no name has such a part
    ],
)
def test_another_form_is_refused_with_those_that_there_are(url: str) -> None:
    with pytest.raises(InvalidArgument, match="write it as unix://"):
        _ = Endpoint(url).base


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    with pytest.raises(InvalidArgument, match=r"there is no ca\.pem, no key\.pem; `swarm-manager client-cert`"):
        Endpoint("tcp://host", tmp_path).tls()
    with pytest.raises(InvalidArgument, match=r"in .*/nowhere: there is no ca\.pem, no cert\.pem, no key\.pem;"):
        Endpoint("tcp://host", tmp_path / "nowhere").tls()


# Notes its arguments, and links the local socket of -L to the remote one.
FAKE = """#!/bin/sh
echo "$@" >> "$NOTES"
test "$FAILS" = yes && exit 255
while [ $# -gt 0 ]; do
    if [ "$1" = -L ]; then ln -s "${2#*:}" "${2%%:*}"; fi
    shift
done
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    return tmp_path / "notes"


@pytest.mark.parametrize(
    ("url", "socket", "target"),
    [
        ("ssh://boss", "/run/swarm-manager/docker.sock", "-- boss"),
        ("ssh://me@boss:2222/srv/m.sock", "/srv/m.sock", "-l me -p 2222 -- boss"),
    ],
)
async def test_its_socket_is_here_for_as_long(notes: Path, url: str, socket: str, target: str) -> None:
    async with reached(Endpoint(url)) as place:
        assert place.socket is not None
        link = Path(place.socket)
        assert link.readlink() == Path(socket)
        assert (place.url, place.base) == (url, "http://manager")
    opened, closed = notes.read_text().splitlines()
    assert opened.endswith(f" -f -N -M -o ExitOnForwardFailure=yes -L {link}:{socket} {target}")
    assert closed.endswith(f"-O exit {target}")
    assert opened.split()[:2] == closed.split()[:2], "the one that was opened is closed"
    assert not link.parent.exists()


@pytest.mark.usefixtures("notes")
async def test_an_ssh_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "yes")
    with pytest.raises(CannotConnect, match="Cannot reach the manager at ssh://boss: ssh failed"):
        async with reached(Endpoint("ssh://boss")):
            pass


@pytest.mark.parametrize("url", ["ssh://", "ssh://-oProxyCommand=x", "ssh://boss:x", "ssh://me:secret@boss"])
async def test_what_names_no_host_is_refused(notes: Path, url: str) -> None:
    with pytest.raises(InvalidArgument, match="write it as ssh://"):
        async with reached(Endpoint(url)):
            pass
    assert not notes.exists()


async def test_other_addresses_are_as_they_are() -> None:
    async with reached(Endpoint("unix:///x")) as place:
        assert place == Endpoint("unix:///x")
