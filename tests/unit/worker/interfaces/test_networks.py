"""What a task's status says of its addresses."""

from common.wire.messages import MESH, MESH6
from worker.interfaces.networks import Attachment, NetworkEndpoint


def test_a_status_has_the_addresses_that_were_assigned_here() -> None:
    front = NetworkEndpoint(network="front", network_id="n1", address="10.0.1.5")
    mesh = NetworkEndpoint(network="ingress", network_id=MESH, address="10.0.0.9", address6="fd00::9")
    found = Attachment(endpoints=(front, mesh)).status_addresses()
    assert found == {"n1": "10.0.1.5", MESH: "10.0.0.9", MESH6: "fd00::9"}


def test_a_status_has_no_address_of_a_bridge_of_this_host() -> None:
    chosen = NetworkEndpoint(network="front", network_id="n1")  # by the engine: other hosts cannot use it
    bridge = NetworkEndpoint(network="bridge", address="172.18.0.2")
    assert Attachment(endpoints=(chosen, bridge)).status_addresses() == {}
