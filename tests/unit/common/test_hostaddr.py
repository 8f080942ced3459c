"""Which of a host's links count."""

import pytest

from common import hostaddr
from worker.net import names


@pytest.mark.parametrize("link", [names.TUNNEL, names.GATEWAY_BRIDGE, names.BRIDGE_PREFIX, names.WIREGUARD_PREFIX])
def test_addresses_on_a_workers_own_links_are_nothing_to_advertise(link: str):
    assert link.startswith(hostaddr._CONTAINER_LINKS)
