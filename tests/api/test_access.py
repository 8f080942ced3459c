"""The docker CLI over TCP and TLS: each role's commands, certificates that are no good, contexts; `client-cert`."""

import asyncio
import shlex
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import docker as docker_sdk
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from common.tls import ROLE_MANAGER, ROLE_WORKER
from manager.api.http.server import serve
from tests.api.conftest import DockerCli, Ran
from tests.api.swarm_cli import SwarmCli
from tests.docker_cli.program import unfit
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster
from tests.fakes.api_tls import TlsApi, tls_api
from tests.fakes.certificates import Pki

RANK = {"viewer": 1, "operator": 2, "admin": 3}


@pytest.fixture
async def api(cluster: ApiCluster, tmp_path: Path) -> AsyncIterator[TlsApi]:
    if unfit():
        pytest.skip(unfit())
    async with tls_api(cluster, tmp_path) as api:
        yield api


def cli(api: TlsApi, certificates: Path | None) -> DockerCli:
    home = api.pki.directory / "home"
    home.mkdir(exist_ok=True)
    more = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)} if certificates else {}
    return DockerCli(api.host, home, more)


# --- roles ------------------------------------------------------------------------------------------------------------

# The least role, and what it may run; in this order each finds what the ones before have made.
COMMANDS = (
    ("viewer", "version"),
    ("viewer", "info"),
    ("viewer", "node ls"),
    ("viewer", "node inspect w1"),
    ("viewer", "service ls"),
    ("viewer", "network ls"),
    ("viewer", "secret ls"),
    ("viewer", "config ls"),
    ("viewer", "stack ls"),
    ("operator", "secret create s1 -"),
    ("viewer", "secret inspect s1"),
    ("operator", "config create c1 -"),
    ("viewer", "config inspect c1"),
    ("operator", "network create --driver overlay n1"),
    ("viewer", "network inspect n1"),
    ("operator", "service create --detach --no-resolve-image --name web --env PASSWORD=x=y nginx:1"),
    ("viewer", "service inspect web"),
    ("viewer", "service inspect --pretty web"),
    ("viewer", "service ps web"),
    ("viewer", "service logs web"),
    ("operator", "service scale --detach web=2"),
    ("operator", "service update --detach --no-resolve-image --label-add a=b web"),
    ("operator", "service rollback --detach web"),
    ("operator", "service rm web"),
    ("operator", "network rm n1"),
    ("operator", "secret rm s1"),
    ("operator", "config rm c1"),
    ("operator", "node update --availability drain w1"),
    ("operator", "node update --label-add zone=a w1"),
    ("admin", "swarm update --task-history-limit 3"),
    ("admin", "swarm join-token --rotate worker"),
    ("admin", f"node rm --force {WORKER2}"),
)
# Whatever these find, a role that is too low is told so before anything is looked up.
REFUSED = (
    ("operator", "run busybox"),
    ("operator", "top c"),
    ("operator", "kill c"),
    ("operator", "rm c"),
    ("operator", "cp c:/etc/passwd ."),
    ("operator", "export c -o x"),
    ("operator", "commit c i"),
    ("operator", "pull busybox"),
    ("operator", "rmi busybox"),
    ("operator", "save busybox -o x"),
    ("operator", "volume create v"),
    ("operator", "system prune --force"),
    ("admin", "swarm unlock-key"),
    ("admin", f"node rm {WORKER1}"),
)


@pytest.mark.parametrize("role", RANK)
async def test_each_role_may_what_it_may(api: TlsApi, cluster: ApiCluster, role: str) -> None:
    own = cli(api, await api.client("alice", role))
    other = cli(api, await api.client("helper", "admin"))
    for least, line in COMMANDS:
        ran = await own.run(*shlex.split(line), stdin="content")
        if RANK[role] >= RANK[least]:
            assert ran.code == 0, f"{line}: {ran}"
        else:
            refused(line, ran, role, least)
            if least == "operator":  # so that those after it find something
                await other.ok(*shlex.split(line), stdin="content")
    ran = await own.run("swarm", "leave", "--force")
    assert ("This is the cluster's only manager" in ran.err) is (role == "admin"), "it takes the cluster's id, too"
    assert not cluster.left


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_what_a_role_may_not_is_refused_whatever_is_there(api: TlsApi, role: str) -> None:
    own = cli(api, await api.client("alice", role))
    commands = [(least, line) for least, line in REFUSED if RANK[least] > RANK[role]]
    for (least, line), ran in zip(commands, await in_fours(own, commands), strict=True):
        refused(line, ran, role, least)


async def in_fours(own: DockerCli, commands: list[tuple[str, str]]) -> list[Ran]:
    gate = asyncio.Semaphore(4)

    async def one(line: str) -> Ran:
        async with gate:
            return await own.run(*shlex.split(line))

    return await asyncio.gather(*(one(line) for _, line in commands))


def refused(line: str, ran: Ran, role: str, least: str) -> None:
    assert ran.code != 0, f"{line}: {ran}"
    text = ran.out + ran.err
    assert f"permission denied: alice has the role {role}, and " in text, f"{line}: {ran}"
    assert f" needs the role {least}" in text, f"{line}: {ran}"


async def test_a_viewers_certificate_says_which_environments_it_sees(api: TlsApi) -> None:
    admin = cli(api, await api.client("root", "admin"))
    await admin.ok(*shlex.split("service create --detach --no-resolve-image --name web --env PASSWORD=x=y nginx:1"))
    for certificates, shown in (
        (await api.client("blind", "viewer"), "PASSWORD=<hidden>"),
        (await api.client("seeing", "viewer", Environment=True), "PASSWORD=x=y"),
        (await api.client("op", "operator"), "PASSWORD=x=y"),
    ):
        own = cli(api, certificates)
        found = await own.ok("service", "inspect", "web", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Env}}")
        assert found == f"[{shown}]"


# --- certificates -----------------------------------------------------------------------------------------------------


async def test_no_certificate(api: TlsApi) -> None:
    home = api.pki.directory / "bare"
    home.mkdir()
    (home / "ca.pem").write_bytes(api.pki.authority.root_certificate)
    ran = await cli(api, None).run("--tlsverify", "--tlscacert", f"{home}/ca.pem", "node", "ls")
    assert ran.code != 0
    assert "certificate required" in ran.err


async def test_another_authoritys_certificate(api: TlsApi, tmp_path: Path) -> None:
    (tmp_path / "forged").mkdir()
    forged = api.node("swarm-admin", Pki(tmp_path / "forged", "c" * 25))
    ran = await cli(api, forged).run("node", "ls")
    assert ran.code != 0
    assert "unknown certificate authority" in ran.err


async def test_the_client_refuses_a_server_of_another_authority(api: TlsApi, tmp_path: Path) -> None:
    (tmp_path / "forged").mkdir()
    forged = Pki(tmp_path / "forged", "c" * 25)
    certificates = await api.client("alice", "admin")
    (certificates / "ca.pem").write_bytes(forged.authority.root_certificate)
    ran = await cli(api, certificates).run("node", "ls")
    assert ran.code != 0
    assert "certificate signed by unknown authority" in ran.err


async def test_our_own_client_over_tls(api: TlsApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = await api.client("alice", "admin")
    monkeypatch.setenv("SWARM_MANAGER_CERT_PATH", str(certificates))
    swarm = SwarmCli(api.host)
    assert "HOSTNAME" in await swarm.ok("node", "ls")  # an answer that is wanted whole
    await swarm.ok("events", "--since", "10m", "--until", "0s")  # and one that is a stream
    (tmp_path / "forged").mkdir()
    (certificates / "ca.pem").write_bytes(Pki(tmp_path / "forged", "c" * 25).authority.root_certificate)
    for words in (("node", "ls"), ("events", "--until", "0s")):
        ran = await swarm.run(*words)
        assert (ran.code, "certificate verify failed" in ran.err) == (1, True), ran


async def test_an_expired_certificate(api: TlsApi) -> None:
    ran = await cli(api, await api.past_client("alice", "admin", ended=10)).run("node", "ls")
    assert ran.code != 0
    assert "expired certificate" in ran.err


@pytest.mark.parametrize("role", [ROLE_WORKER, ROLE_MANAGER])
async def test_a_nodes_certificate(api: TlsApi, role: str) -> None:
    ran = await cli(api, api.node(role)).run("node", "ls")
    assert ran.code != 0
    assert f"permission denied: the certificate of n1 is that of a node ({role})" in ran.err


async def test_a_revoked_certificate_and_the_stream_that_it_had(api: TlsApi) -> None:
    own = cli(api, await api.client("alice", "operator"))
    events = await own.start("events")
    async with asyncio.timeout(10):
        while not api.cluster.api.context.events.listeners:
            await asyncio.sleep(0.01)
    await api.admin.ask("DELETE", "/swarm/client-certificates/alice")
    async with asyncio.timeout(5):
        _, err = await events.communicate()
    assert events.returncode != 0, err
    ran = await own.run("node", "ls")
    assert ran.code != 0
    assert "of alice was revoked at" in ran.err


async def test_by_the_names_of_the_manager(api: TlsApi) -> None:
    certificates = await api.client("alice", "viewer")
    named = TlsApi(api.cluster, api.host.replace("127.0.0.1", "localhost"), api.context, api.pki)
    assert "w1" in await cli(named, certificates).ok("node", "ls")


async def test_a_docker_context(api: TlsApi) -> None:
    files = await api.client("alice", "viewer")
    plain = cli(api, None)
    endpoint = f"host={api.host},ca={files}/ca.pem,cert={files}/cert.pem,key={files}/key.pem"
    await plain.ok("context", "create", "cluster", "--docker", endpoint)
    plain.forget_host()
    assert "w1" in await plain.ok("--context", "cluster", "node", "ls")
    ran = await plain.run("--context", "cluster", "network", "create", "n")
    assert "needs the role operator" in ran.err


async def test_the_python_sdk(api: TlsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to what the SDK says
        monkeypatch.delenv(name, raising=False)
    files = await api.client("alice", "viewer")

    def use() -> None:
        tls = docker_sdk.tls.TLSConfig(
            client_cert=(str(files / "cert.pem"), str(files / "key.pem")), ca_cert=str(files / "ca.pem"), verify=True
        )
        client = docker_sdk.DockerClient(api.url, tls=tls)
        try:
            assert len(client.nodes.list()) == 3
            with pytest.raises(docker_sdk.errors.APIError, match="needs the role operator"):
                client.networks.create("n", driver="overlay")
        finally:
            client.close()

    await asyncio.to_thread(use)


# --- swarm-manager client-cert ----------------------------------------------------------------------------------------


@pytest.fixture
async def swarm(api: TlsApi) -> AsyncIterator[SwarmCli]:
    host = f"unix://{api.cluster.folder}/docker.sock"
    async with serve(api.cluster.api, [host]):
        yield SwarmCli(host)


async def test_a_file_that_browsers_import(api: TlsApi, swarm: SwarmCli, tmp_path: Path) -> None:
    out = tmp_path / "carol"
    said = await swarm.ok("client-cert", "carol", "--role", "viewer", "--p12", "--out", str(out))
    password = said.split("password ")[1].split(",")[0]
    assert said.endswith("then open https://10.1.0.1:2376/dashboard/")
    file = out / "browser.p12"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key, certificate, authorities = pkcs12.load_key_and_certificates(file.read_bytes(), password.encode())
    assert key is not None
    assert certificate is not None
    assert certificate.public_bytes(Encoding.PEM) == (out / "cert.pem").read_bytes()
    assert [each.public_bytes(Encoding.PEM) for each in authorities] == [(out / "ca.pem").read_bytes()]
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_key_and_certificates(file.read_bytes(), b"wrong")
    async with api.browsing(out) as session, session.get("/dashboard/static/icon.svg") as answer:
        assert answer.status == 200


async def test_a_certificate_takes_the_place_of_another(api: TlsApi, swarm: SwarmCli, tmp_path: Path) -> None:
    out = tmp_path / "carol"
    made = ("client-cert", "carol", "--role", "viewer", "--out", str(out))
    await swarm.ok(*made)
    before = {each.name: each.read_bytes() for each in out.iterdir()}
    assert "--replace" in (await swarm.run(*made)).err
    await swarm.ok(*made, "--replace")
    after = {each.name: each.read_bytes() for each in out.iterdir()}
    assert before.keys() == after.keys()
    assert before["key.pem"] != after["key.pem"]
    assert before["cert.pem"] != after["cert.pem"]
    assert stat.S_IMODE((out / "key.pem").stat().st_mode) == 0o600
    assert "w1" in await cli(api, out).ok("node", "ls")
    # What cannot be replaced is left as it was.
    assert (await swarm.run("client-cert", "a b", "--out", str(out), "--replace")).code == 1
    assert {each.name: each.read_bytes() for each in out.iterdir()} == after


async def test_what_client_cert_writes_is_what_docker_wants(api: TlsApi, swarm: SwarmCli, tmp_path: Path) -> None:
    out = tmp_path / "made"
    said = await swarm.ok("client-cert", "carol", "--role", "viewer", "--ttl", "1h30m", "--out", str(out))
    assert f"export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={out}" in said
    assert "export DOCKER_HOST=tcp://10.1.0.1:2376" in said
    assert {file.name for file in out.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
    assert stat.S_IMODE((out / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    carol = cli(api, out)
    assert "w1" in await carol.ok("node", "ls")
    assert "carol has the role viewer" in (await carol.run("service", "rm", "x")).err
    listed = await swarm.ok("client-cert", "ls")
    assert [line.split()[1:3] for line in listed.splitlines()] == [["NAME", "ROLE"], ["carol", "viewer"]]
    assert "Valid for About an hour" in listed or "Valid for 2 hours" in listed
    assert (await swarm.ok("client-cert", "revoke", "carol")).endswith(" carol")
    assert "was revoked" in (await carol.run("node", "ls")).err
    assert "Revoked " in await swarm.ok("client-cert", "ls")


async def test_a_key_never_travels(swarm: SwarmCli, cluster: ApiCluster, tmp_path: Path) -> None:
    seen: list[bytes] = []
    answer = cluster.api.answer

    async def watched(call, *others):
        seen.append(call.body)
        return await answer(call, *others)

    cluster.api.answer = watched
    await swarm.ok("client-cert", "carol", "--out", str(tmp_path / "made"))
    assert any(b"BEGIN CERTIFICATE REQUEST" in body for body in seen)
    assert not any(b"PRIVATE KEY" in body for body in seen)


async def test_files_that_are_there_are_left_alone(swarm: SwarmCli, cluster: ApiCluster, tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        folder = tmp_path / name.removesuffix(".pem")
        folder.mkdir()
        (folder / name).write_text("mine")
        ran = await swarm.run("client-cert", "carol", "--out", str(folder))
        assert ran.code == 1
        assert f"{folder / name} exists already" in ran.err
        assert {file.name: file.read_text() for file in folder.iterdir()} == {name: "mine"}
    assert not len(cluster.store.view.client_certificates)


async def test_nothing_is_left_when_no_certificate_comes_of_it(swarm: SwarmCli, tmp_path: Path) -> None:
    ran = await swarm.run("client-cert", "a b", "--out", str(tmp_path / "made"))
    assert (ran.code, "1 to 64 letters" in ran.err) == (1, True)
    assert not (tmp_path / "made").exists()
    (tmp_path / "file").write_text("")
    ran = await swarm.run("client-cert", "carol", "--out", str(tmp_path / "file" / "made"))
    assert ran.code == 1
    assert "cannot write to" in ran.err


async def test_our_own_command_line_over_tls(api: TlsApi, swarm: SwarmCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_MANAGER_CERT_PATH", str(await api.client("alice", "operator")))
    own = SwarmCli(api.host)
    assert "w1" in await own.ok("node", "ls")
    ran = await own.run("client-cert", "mallory")
    assert (ran.code, "needs the role admin" in ran.err) == (1, True)
    assert not (Path.cwd() / "mallory").exists()
    ran = await own.run("join-token", "worker")
    assert (ran.code, "role admin" in ran.err) == (1, True)
    monkeypatch.setenv("SWARM_MANAGER_CERT_PATH", str(await api.client("root", "admin")))
    assert "SWMTKN" in await SwarmCli(api.host).ok("join-token", "worker")


async def test_our_own_client_without_a_certificate_hears_what_to_do(api: TlsApi) -> None:
    ran = await SwarmCli(api.host).run("node", "ls")
    assert ran.code == 1
    assert "SWARM_MANAGER_CERT_PATH names its directory" in ran.err
