"""What `service create` and `service update` send, and what they say before and after."""

from typing import Any

import pytest

from common.model import Service
from common.model.container import ContainerSpec
from common.model.naming import Version
from common.model.service import ServiceSpec, TaskSpec
from manager.cli.failures import ApiError
from manager.cli.service.change import send_change, send_new

SPEC = ServiceSpec(name="web", task_template=TaskSpec(container_spec=ContainerSpec(image="web:1")))
SERVICE = Service(id="s1", spec=SPEC, version=Version(index=1))


class NoRegistry:
    """A client of an API that reaches no registry, and takes a specification or refuses it."""

    def __init__(self, *, accepts: bool) -> None:
        self.accepts = accepts

    async def get(self, path: str, params: Any = None, *, headers: Any = None) -> Any:
        raise ApiError(503, f"no registry answered: {path}")

    async def post(self, path: str, body: Any = None, params: Any = None, *, headers: Any = None) -> Any:
        if not self.accepts:
            raise ApiError(400, "invalid constraint")
        return {"ID": "s1", "Warnings": ["one of the manager's"]}


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


async def test_an_unknown_digest_is_told_after_the_manager_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = NoRegistry(accepts=True)
    assert await send_new(client, SPEC, resolve=True, auth=False) == "s1"
    created = capsys.readouterr().err
    await send_change(client, SERVICE, SPEC, resolve=True)
    for told in (created, capsys.readouterr().err):
        assert told.startswith("one of the manager's\nimage web:1 could not be accessed on a registry")


async def test_a_refused_service_is_not_warned_of_its_image(capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = NoRegistry(accepts=False)
    with pytest.raises(ApiError, match="invalid constraint"):
        await send_new(client, SPEC, resolve=True, auth=False)
    with pytest.raises(ApiError, match="invalid constraint"):
        await send_change(client, SERVICE, SPEC, resolve=True)
    assert capsys.readouterr().err == ""
