import asyncio
import errno
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
import pytest
from aiohttp import web
from click.testing import CliRunner

from common.errors import NotFound
from manager.cli import cli
from manager.cli.client import Client
from manager.cli.endpoint import Endpoint
from manager.cli.failures import ApiError, CannotConnect, CommandFailed, cannot_connect, explain
from tests.fakes.manager_socket import client_of

NOT_JSON = "Expecting value: line 1 column 1 (char 0)"


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(words))
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["service", "create", "--nope", "x"], 125, "unknown flag: --nope\nSee 'swarm-manager service create --help'."),
        (["service", "create", "--mount", "a", "x"], 125, 'invalid argument "a" for "--mount" flag: invalid field'),
        (["service", "ls", "-f", "a"], 125, 'invalid argument "a" for "-f, --filter" flag: bad format of filter'),
        (["service", "create", "--name"], 125, "Option '--name' requires an argument."),
        (["service", "rm"], 1, '"swarm-manager service rm" requires at least 1 argument.'),
        (["service", "inspect", ""], 1, "SERVICE is empty (is a variable of your shell's not set?)"),
        (["service", "rm", "a", " "], 1, "SERVICE is empty"),
        (["service", "update", "--image", "web", ""], 1, "SERVICE is empty"),
        (["node", "ps", ""], 1, "NODE is empty"),
        (["stack", "rm", ""], 1, "STACK is empty"),
        (["exec", "", "true"], 1, "CONTAINER is empty"),
        (["exec", "--nope", "web", "ls"], 125, "unknown flag: --nope\nSee 'swarm-manager exec --help'."),
        (["exec", "--env-file", "/no", "web", "ls"], 1, "cannot read the environment file /no: No such file"),
        (["service", "scale", "", "a=1"], 1, "SERVICE=REPLICAS is empty"),
        (["node", "update"], 1, '"swarm-manager node update" requires exactly 1 argument.'),
        (["service", "ls", "extra"], 1, '"swarm-manager service ls" accepts no arguments.\nSee '),
        (["stack", "deploy", "x.yaml", "shop"], 1, '"swarm-manager stack deploy" requires exactly 1 argument.\nSee '),
        (
            ["secret", "create", "a", "b", "c"],
            1,
            '"swarm-manager secret create" requires at least 1 and at most 2 arguments.',
        ),
        (["secret", "create"], 1, '"swarm-manager secret create" requires at least 1 and at most 2 arguments.'),
        (
            ["client-cert", "a", "--role", "king"],
            125,
            "invalid argument for \"--role\" flag: 'king' is not one of 'admin'",
        ),
        (
            ["service", "rollback", "--to", "x", "web"],
            125,
            "invalid argument for \"--to\" flag: 'x' is not a whole number",
        ),
        (["dashboard", "--role", "king"], 125, "invalid argument for \"--role\" flag: 'king' is not one of 'viewer'"),
        (["nope"], 1, "No such command 'nope'."),
        (["-H", "ftp://x", "service", "ls"], 1, "invalid address 'ftp://x'"),
        (["service", "scale", "web"], 1, "Invalid scale specifier 'web'."),
        (["service", "scale", "web=x"], 1, "web: invalid replicas value x"),
        (["service", "scale", "web=²"], 1, "web: invalid replicas value ²"),
        (["service", "create", "--env-file", "/no", "x"], 1, "cannot read the environment file /no: No such file"),
        (["stack", "deploy", "x"], 1, "Please specify a Compose file"),
        (["stack", "deploy", "-c", "/nothing.yml", "x"], 1, "open /nothing.yml: no such file or directory"),
        (["-H", "unix:///nothing.sock", "node", "ls"], 1, "Cannot connect to the manager at unix:///nothing.sock"),
    ],
)
def test_what_a_user_does_wrong_is_a_message_and_an_exit_code(words: list[str], code: int, message: str):
    found = run(*words)
    assert found[0] == code
    assert found[1].startswith(message)
    assert "Traceback" not in found[1]


@pytest.mark.parametrize("words", [[], ["service"], ["dashboard", "token"], ["client-cert"]])
def test_a_group_alone_shows_its_help_and_succeeds(words: list[str]):
    code, err = run(*words)
    assert (code, "Commands:" in err, "See '" in err) == (0, True, False)


def test_a_path_that_no_file_can_have_is_said_with_its_place(tmp_path: Path):
    file = tmp_path / "stack.yaml"
    file.write_text('services: {web: {image: web, env_file: "a\\0b"}}')
    code, err = run("stack", "config", "-c", str(file))
    assert code == 1
    assert "services.web.env_file: cannot read" in err
    assert "Traceback" not in err


def test_a_full_disk_below_the_output_is_no_bug():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert explain(full) == ("cannot write the output: No space left on device", 1)
    assert "This is a bug" in explain(OSError(errno.EBADF, "x"))[0]


def test_a_reader_that_goes_away_is_no_bug():
    script = (
        "from manager.cli import cli; import click\n"
        "def gone(): raise ExceptionGroup('', [BrokenPipeError(32, 'Broken pipe')])\n"
        "cli.add_command(click.Command('gone', callback=gone)); cli(['gone'])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_debug_shows_where_an_error_comes_from():
    code, err = run("-H", "unix:///nothing.sock", "--debug", "node", "ls")
    assert code == 1
    assert "Traceback" in err


def test_a_failed_connection_says_which_why_and_what_to_do():
    for cause, hint in (
        (PermissionError(), "group swarm"),
        (FileNotFoundError(), "swarm-manager init"),
        (ConnectionRefusedError(), "swarm-manager start"),
        (OSError(113, "No route to host"), "No route to host"),
        (OSError(113, "Connect call failed ('192.0.2.9', 2376)"), "x.sock: No route to host."),
    ):
        message = cannot_connect("unix:///x.sock", cause).message
        assert "unix:///x.sock" in message
        assert hint in message


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ApiError(404, "service x not found"), ("Error response from daemon: service x not found", 1)),
        (NotFound("no such thing"), ("no such thing", 1)),
        (CommandFailed(""), ("", 1)),
        (ExceptionGroup("waits", [ExceptionGroup("", [CommandFailed("why")])]), ("why", 1)),
        (KeyboardInterrupt(), ("", 130)),
        (click.ClickException("odd"), ("odd", 1)),
        (
            json.JSONDecodeError("Expecting value", "<", 0),
            (f"what answers is not a manager: {NOT_JSON}\nGive the manager's address with --host.", 1),
        ),
    ],
)
def test_errors_are_explained(error: BaseException, said: tuple[str, int]):
    assert explain(error) == said


def test_what_nobody_expected_is_called_a_bug():
    message, code = explain(KeyError("x"))
    assert code == 1
    assert "bug" in message
    assert "--debug" in message


def test_addresses():
    assert Endpoint("unix:///run/x.sock").socket == "/run/x.sock"
    assert Endpoint("tcp://10.0.0.1").base == "http://10.0.0.1:2375"
    assert Endpoint("tcp://[::1]:99").base == "http://[::1]:99"


async def test_a_docker_engine_at_the_managers_address_is_recognized(tmp_path: Path):
    async def engine(_: web.BaseRequest) -> web.Response:
        return web.json_response({"message": "not a manager"}, status=503, headers={"Server": "Docker/26.1 (linux)"})

    async with client_of(engine, tmp_path) as client:
        with pytest.raises(CannotConnect, match=r"a Docker engine answers, not a manager\.\nGive .* --host"):
            await client.get("/services")


async def test_what_answers_but_is_no_manager_is_no_bug(tmp_path: Path):
    async def page(_: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>It works!</html>", content_type="text/html")

    async with client_of(page, tmp_path) as client:
        for asked in (client.get("/services"), client.post("/services/create", {}), client.delete("/services/x")):
            with pytest.raises(CannotConnect, match=r"/socket something else answers, not a manager\.\nGive .* --host"):
                await asked
        host = f"unix://{tmp_path}/socket"
        for words in (["events"], ["cp", "web:/etc/hosts", str(tmp_path / "hosts")]):
            code, said = await asyncio.to_thread(run, "-H", host, *words)
            assert (code, "something else answers, not a manager" in said) == (1, True)


async def test_a_proxys_page_is_told_by_its_status(tmp_path: Path):
    async def page(_: web.BaseRequest) -> web.Response:
        return web.Response(status=502, text="<html>\n<h1>502 Bad Gateway</h1>", content_type="text/html")

    async with client_of(page, tmp_path) as client:
        with pytest.raises(ApiError, match=r"^Error response from daemon: 502 Bad Gateway$"):
            await client.get("/services")


@pytest.mark.parametrize(
    ("bytes_sent", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", r"what answers does not speak HTTP\.$"),
        (b"", r"it ended the connection before it had answered\.$"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", r"it ended the connection before it had answered\.$"),
    ],
)
async def test_a_stream_that_breaks_is_said_in_words(
    tmp_path: Path, bytes_sent: bytes, why: str, capfd: pytest.CaptureFixture[str]
):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes_sent)
        writer.close()

    async def body() -> AsyncIterator[bytes]:
        yield b"archive"

    async with (
        await asyncio.start_unix_server(serve, tmp_path / "socket"),
        Client(Endpoint(f"unix://{tmp_path}/socket")) as client,
    ):
        with pytest.raises(CannotConnect) as caught:
            async with client.stream("/events") as lines:
                await lines.read()
        with pytest.raises(CannotConnect):
            async with client.upload("/images/load", body(), (), headers={}) as answer:
                await answer.read()
    assert re.search(why, caught.value.message.splitlines()[0])
    gc.collect()
    assert "never retrieved" not in capfd.readouterr().err  # of aiohttp's task that sends


async def test_what_an_answer_lacks_is_said_once(tmp_path: Path):
    headers = [{"Warning": '199 swarm-manager "not complete: h3: down"'}] * 2 + [{"Warning": '299 - "old"'}, {}]

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.json_response([], headers=headers.pop(0))

    said: list[str] = []
    async with client_of(answer, tmp_path, said.append) as client:
        while headers:
            assert await client.get("/containers/json") == []
    assert said == ["not complete: h3: down"]


def test_a_host_set_for_docker_is_explained_not_to_be_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    words = "--host or SWARM_MANAGER_HOST. DOCKER_HOST is not used: on the cluster's hosts it names the engine."
    assert cannot_connect("unix:///x", FileNotFoundError()).message.endswith(words)
    monkeypatch.delenv("DOCKER_HOST")
    assert cannot_connect("unix:///x", FileNotFoundError()).message.endswith("SWARM_MANAGER_HOST.")
