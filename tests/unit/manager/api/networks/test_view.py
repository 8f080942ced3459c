"""Networks in a specification: by name, by id, by its beginning."""

import pytest

from common.model import Network
from common.model.network import NetworkSpec
from common.model.service import NetworkAttachmentConfig, ServiceSpec
from manager.api.errors import EngineError
from manager.api.networks.view import PREDEFINED, predefined_name, resolve_networks
from tests.fakes.world import World


def resolved(*targets: str) -> list[str]:
    world = World()
    world.put(Network(id="abc123", spec=NetworkSpec(name="front")), Network(id="abd456", spec=NetworkSpec(name="back")))
    networks = tuple(NetworkAttachmentConfig(target=each) for each in targets)
    spec = resolve_networks(ServiceSpec(name="web", networks=networks), world.tables)
    assert spec.networks == ()
    return [each.target for each in spec.task_template.networks]


def test_names_and_ids_become_ids_in_the_task_template() -> None:
    assert resolved("front", "abd456", "abc") == ["abc123", "abd456", "abc123"]


def test_predefined_networks_keep_their_names() -> None:
    known = next(iter(PREDEFINED))
    assert predefined_name(known.id) == predefined_name(known.name) == known.name
    assert predefined_name("front") == ""
    assert resolved(known.id) == [known.name]


@pytest.mark.parametrize(("target", "words"), [("none-such", "network none-such not found"), ("ab", "ab")])
def test_what_means_no_network_or_several_is_refused(target: str, words: str) -> None:
    with pytest.raises(EngineError, match=words) as raised:
        resolved(target)
    assert raised.value.answered == 400
