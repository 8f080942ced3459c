"""/configs: create, list, inspect, change labels, remove."""

from __future__ import annotations

from common.errors import AlreadyExists, InvalidArgument, OutOfSequence
from common.ids import new_id
from common.model import Config
from common.model.client import Role
from common.model.secret import MAX_CONFIG_BYTES, ConfigSpec
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.file_rules import (
    FILTERS,
    check_current,
    check_unused,
    file_passes,
    relabelled,
    update_index,
    without_managed,
)
from manager.api.json_list import json_list
from manager.api.lookup import find_config
from manager.api.names import check_file_name
from manager.api.router import Route
from manager.api.views.files import config_view
from manager.orchestrate.rotation import rotate
from manager.state.extensions import check_file
from manager.state.transaction import Transaction


async def list_configs(context: Context, call: Call) -> Reply:
    filters = call.filters(FILTERS)
    configs = list(context.store.view.configs)
    return json_list(configs, lambda config: file_passes(config, filters), config_view)


async def create_config(context: Context, call: Call) -> Reply:
    spec = call.decode(ConfigSpec)
    check_file_name(spec.name)
    check_file(spec.labels)
    _check_data(spec)
    config = Config(id=new_id(context.rng), spec=without_managed(spec))

    def create(tx: Transaction) -> None:
        if tx.configs.named(spec.name):
            raise AlreadyExists(f"config {spec.name} already exists")
        tx.put(config)

    await context.store.update(create)
    return Answer(201, {"ID": config.id})


def _check_data(spec: ConfigSpec) -> None:
    if not 0 < len(spec.data) < MAX_CONFIG_BYTES:
        raise InvalidArgument(f"config data must be larger than 0 and less than {MAX_CONFIG_BYTES} bytes")


async def inspect_config(context: Context, call: Call) -> Reply:
    return Answer(value=config_view(find_config(context.store.view, call.params["id"])))


async def update_config(context: Context, call: Call) -> Reply:
    """Change labels, or give the name new content, which the services that use it get by their update configuration.

    Without `Data` the content stays as it is. `unlessStack` names a stack whose services the client changes itself.
    """
    index = update_index(call, "config")
    spec = call.decode(ConfigSpec)
    check_file(spec.labels)
    unless_stack = call.query.get("unlessStack", "")
    fresh_id = new_id(context.rng)

    def update(tx: Transaction) -> None:
        config = find_config(tx, call.params["id"])
        old = config.spec
        if spec.name != old.name:
            raise InvalidArgument("only updates to Labels are allowed")
        if not spec.data and spec.templating != old.templating:
            raise InvalidArgument("only updates to Labels, or to Data and Templating together, are allowed")
        if config.version.index != index:
            raise OutOfSequence
        if not spec.data or (spec.data, spec.templating) == (old.data, old.templating):
            tx.put(relabelled(config, spec.labels))
            return
        _check_data(spec)
        check_current("config", config)
        for each in rotate(config, fresh_id, without_managed(spec), tx, unless_stack=unless_stack):
            tx.put(each)

    await context.store.update(update)
    return Answer()


async def remove_config(context: Context, call: Call) -> Reply:
    def remove(tx: Transaction) -> None:
        config = find_config(tx, call.params["id"])
        check_unused("config", config, tx)
        tx.remove(config)

    await context.store.update(remove)
    return Answer(204)


ROUTES = (
    Route("GET", "/configs", list_configs, needs=Role.VIEWER),
    Route("POST", "/configs/create", create_config, needs=Role.OPERATOR),
    Route("GET", "/configs/{id}", inspect_config, needs=Role.VIEWER),
    Route("DELETE", "/configs/{id}", remove_config, needs=Role.OPERATOR),
    Route("POST", "/configs/{id}/update", update_config, needs=Role.OPERATOR),
)
