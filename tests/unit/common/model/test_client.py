"""Roles in the words of users and of certificates."""

from common.model.client import ROLES_BY_LABEL, ROLES_BY_UNIT, Role


def test_each_role_may_what_lesser_ones_may() -> None:
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN


def test_roles_are_found_by_label_and_by_unit() -> None:
    assert ROLES_BY_LABEL == {"viewer": Role.VIEWER, "operator": Role.OPERATOR, "admin": Role.ADMIN}
    assert ROLES_BY_UNIT["swarm-operator"] is Role.OPERATOR
