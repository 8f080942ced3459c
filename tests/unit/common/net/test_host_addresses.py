"""Which of a host's links count."""

import pytest

from common.net import host_addresses
from worker.net.plan import names


@pytest.mark.parametrize("link", [names.TUNNEL, names.GATEWAY_BRIDGE, names.BRIDGE_PREFIX, names.WIREGUARD_PREFIX])
def test_addresses_on_a_workers_own_links_are_not_advertised(link: str):
    assert link.startswith(host_addresses._CONTAINER_LINKS)
