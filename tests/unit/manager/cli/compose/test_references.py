"""Names inside one stack."""

import pytest

from common.model.service import STACK_LABEL
from manager.cli.compose import ComposeFile, load
from manager.cli.compose.references import Scope, is_user_defined

TEXT = """
services: {web: {image: a, networks: [front]}}
networks: {front: {}, named: {name: shared}}
volumes: {data: {labels: {a: b}}}
"""


def no_file(path: str) -> bytes:
    raise FileNotFoundError(path)


@pytest.fixture
def scope() -> Scope:
    return Scope("shop", load([ComposeFile("compose.yaml", TEXT)], {}, no_file, "/"))


def test_names_have_the_stacks_prefix_or_their_own(scope: Scope) -> None:
    assert scope.full("web") == "shop_web"
    assert scope.network("front") == "shop_front"
    assert scope.network("named") == "shared"
    assert scope.network("default") == "shop_default"


def test_what_nobody_declared_is_refused_where_it_is_used(scope: Scope) -> None:
    assert scope.lookup("volumes", "data", ()) == "shop_data"
    assert scope.problems == []
    assert scope.lookup("volumes", "other", ("services", "web")) == "shop_other"
    assert [each.message for each in scope.problems] == [
        'undefined volume "other": declare it in the top-level volumes'
    ]


def test_labels_say_which_stack_it_is_of(scope: Scope) -> None:
    assert scope.labels(scope.config.volumes["data"]) == {"a": "b", STACK_LABEL: "shop"}


def test_every_engine_has_some_networks() -> None:
    assert [is_user_defined(name) for name in ("front", "host", "none", "container:x")] == [True, False, False, False]
