"""/secrets: create, list, inspect, change labels, remove. The data goes in and never comes out."""

from __future__ import annotations

from common.errors import AlreadyExists, InvalidArgument, OutOfSequence
from common.ids import new_id
from common.model import Secret
from common.model.client import Role
from common.model.secret import MAX_SECRET_BYTES, SecretSpec
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import Unimplemented
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
from manager.api.lookup import find_secret
from manager.api.names import check_file_name
from manager.api.router import Route
from manager.api.views.files import secret_view
from manager.orchestrate.rotation import rotate
from manager.state.extensions import check_file
from manager.state.transaction import Transaction


async def list_secrets(context: Context, call: Call) -> Reply:
    filters = call.filters(FILTERS)
    secrets = list(context.store.view.secrets)
    return json_list(secrets, lambda secret: file_passes(secret, filters), secret_view)


async def create_secret(context: Context, call: Call) -> Reply:
    spec = call.decode(SecretSpec)
    check_file_name(spec.name)
    if spec.driver is not None:
        raise Unimplemented("secret drivers are not supported: give the secret's Data")
    check_file(spec.labels)
    _check_data(spec)
    secret = Secret(id=new_id(context.rng), spec=without_managed(spec))

    def create(tx: Transaction) -> None:
        if tx.secrets.named(spec.name):
            raise AlreadyExists(f"secret {spec.name} already exists")
        tx.put(secret)

    await context.store.update(create)
    return Answer(201, {"ID": secret.id})


def _check_data(spec: SecretSpec) -> None:
    if not 0 < len(spec.data) < MAX_SECRET_BYTES:
        raise InvalidArgument(f"secret data must be larger than 0 and less than {MAX_SECRET_BYTES} bytes")


async def inspect_secret(context: Context, call: Call) -> Reply:
    return Answer(value=secret_view(find_secret(context.store.view, call.params["id"])))


async def update_secret(context: Context, call: Call) -> Reply:
    """Change labels, or give the name new content, which the services that use it get by their update configuration.

    Without `Data` the content stays as it is. `unlessStack` names a stack whose services the client changes itself.
    """
    index = update_index(call, "secret")
    spec = call.decode(SecretSpec)
    check_file(spec.labels)
    unless_stack = call.query.get("unlessStack", "")
    fresh_id = new_id(context.rng)

    def update(tx: Transaction) -> None:
        secret = find_secret(tx, call.params["id"])
        old = secret.spec
        if (spec.name, spec.driver) != (old.name, old.driver):
            raise InvalidArgument("only updates to Labels are allowed")
        if not spec.data and spec.templating != old.templating:
            raise InvalidArgument("only updates to Labels, or to Data and Templating together, are allowed")
        if secret.version.index != index:
            raise OutOfSequence
        if not spec.data or (spec.data, spec.templating) == (old.data, old.templating):
            tx.put(relabelled(secret, spec.labels))
            return
        _check_data(spec)
        check_current("secret", secret)
        for each in rotate(secret, fresh_id, without_managed(spec), tx, unless_stack=unless_stack):
            tx.put(each)

    await context.store.update(update)
    return Answer()


async def remove_secret(context: Context, call: Call) -> Reply:
    def remove(tx: Transaction) -> None:
        secret = find_secret(tx, call.params["id"])
        check_unused("secret", secret, tx)
        tx.remove(secret)

    await context.store.update(remove)
    return Answer(204)


ROUTES = (
    Route("GET", "/secrets", list_secrets, needs=Role.VIEWER),
    Route("POST", "/secrets/create", create_secret, needs=Role.OPERATOR),
    Route("GET", "/secrets/{id}", inspect_secret, needs=Role.VIEWER),
    Route("DELETE", "/secrets/{id}", remove_secret, needs=Role.OPERATOR),
    Route("POST", "/secrets/{id}/update", update_secret, needs=Role.OPERATOR),
)
