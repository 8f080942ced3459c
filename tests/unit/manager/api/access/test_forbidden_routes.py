"""Each route of operators is checked for what they may be forbidden."""

from common.model.client import Role
from manager.api.access.forbidden_routes import CHECKS, HARMLESS
from manager.api.app import RESOURCES
from tests.fakes.api_cluster import ApiCluster
from tests.unit.manager.api.access.test_forbidden_options import operator

ROUTES = [route for resource in RESOURCES for route in resource.ROUTES]


def test_every_route_of_operators_is_thought_of() -> None:
    """What is in none of the tables is not for operators who are forbidden something."""
    known = {*CHECKS, *HARMLESS}
    operators = {(route.method, route.pattern) for route in ROUTES if route.needs is Role.OPERATOR}
    assert known <= operators
    left_out = {pattern.split("/")[1] for _, pattern in operators - known if "checkpoint" not in pattern}
    assert left_out == {"plugins"}


async def test_a_route_that_is_in_no_table_is_not_for_them(cluster: ApiCluster) -> None:
    status, message = await operator(cluster, "devices").error("POST", "/plugins/pull")
    assert (status, "is not for alice, whose certificate forbids devices" in message) == (403, True)
