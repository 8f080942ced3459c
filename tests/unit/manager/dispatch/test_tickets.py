"""Tickets that let a worker's host join once as a manager."""

import random

from common.wire.token import parse_token
from manager.dispatch.tickets import TICKET_SECONDS, Tickets

DIGEST = "0" * 50


def test_a_ticket_is_good_once_for_its_node_and_for_a_while() -> None:
    now = 100.0
    tickets = Tickets(random.Random(1), lambda: now)
    first, other = tickets.give("n1", DIGEST), tickets.give("n2", DIGEST)
    assert parse_token(first).digest == DIGEST
    assert tickets.redeem("SWMTKN-1-nothing") == ""
    assert (tickets.redeem(first), tickets.redeem(first)) == ("n1", "")
    now += TICKET_SECONDS
    assert tickets.redeem(other) == ""


def test_a_nodes_newest_ticket_replaces_the_one_before() -> None:
    tickets = Tickets(random.Random(1), lambda: 0.0)
    before, after = tickets.give("n1", DIGEST), tickets.give("n1", DIGEST)
    assert (tickets.redeem(before), tickets.redeem(after)) == ("", "n1")
