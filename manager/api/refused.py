"""What single engines have and the cluster has not: each is refused in words that say where it is to be had."""

from __future__ import annotations

from common.model.client import Role
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import EngineError, Unimplemented
from manager.api.router import Handler, Route

_PLUGIN_FILTERS = frozenset({"capability", "enable"})
_PLUGINS = (
    "the cluster has no plugins of its own: install the plugin on every host that needs it, with that host's engine "
    "('docker -H unix:///run/docker.sock plugin install …' there); nodes tell the cluster what they have"
)
_CHECKPOINTS = "checkpoints are not supported: start the container anew, or use the docker command on its own host"
_VOLUMES = "cluster volumes are not supported: create the volume on a node, with 'docker volume create NODE/NAME'"


async def list_plugins(_context: Context, call: Call) -> Reply:
    """Answer that there are none; `/info` names those of the nodes' engines."""
    call.filters(_PLUGIN_FILTERS)
    return Answer(value=[])


async def no_such_plugin(_context: Context, call: Call) -> Reply:
    raise EngineError(404, f'plugin "{call.params["name"]}" not found')


def refusing(words: str) -> Handler:
    """Make the handler that answers 501 with these words."""

    async def handler(_context: Context, _call: Call) -> Reply:
        raise Unimplemented(words)

    return handler


_CHANGES = ("disable", "enable", "push", "set", "upgrade")

ROUTES = (
    Route("GET", "/plugins", list_plugins, needs=Role.VIEWER),
    Route("GET", "/plugins/privileges", refusing(_PLUGINS), needs=Role.OPERATOR),
    Route("POST", "/plugins/pull", refusing(_PLUGINS), needs=Role.OPERATOR),
    Route("POST", "/plugins/create", refusing(_PLUGINS), needs=Role.OPERATOR),
    Route("GET", "/plugins/{name+}/json", no_such_plugin, needs=Role.VIEWER),
    *(Route("POST", f"/plugins/{{name+}}/{change}", no_such_plugin, needs=Role.OPERATOR) for change in _CHANGES),
    Route("DELETE", "/plugins/{name+}", no_such_plugin, needs=Role.OPERATOR),
    Route("GET", "/containers/{id}/checkpoints", refusing(_CHECKPOINTS), needs=Role.OPERATOR),
    Route("POST", "/containers/{id}/checkpoints", refusing(_CHECKPOINTS), needs=Role.OPERATOR),
    Route("DELETE", "/containers/{id}/checkpoints/{checkpoint}", refusing(_CHECKPOINTS), needs=Role.OPERATOR),
    Route("PUT", "/volumes/{name}", refusing(_VOLUMES), needs=Role.OPERATOR),
)
