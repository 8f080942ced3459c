"""The manager behind ssh: what is asked of the user's own ssh, which here only makes a link."""

import os
from pathlib import Path

import pytest

from common.errors import InvalidArgument
from manager.cli.endpoint import Endpoint
from manager.cli.failures import CannotConnect
from manager.cli.ssh import reached

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
