"""A firewall that is in the way: what was counted before it, and not after."""

from __future__ import annotations

import pytest

from worker.net.plan import rules
from worker.net.watch.firewall import Firewall

PORT = 4789


def counted(**packets: int) -> dict[str, int]:
    return dict.fromkeys([*rules.COUNTERS, *rules.COUNTERS6], 0) | packets


def test_traffic_that_was_not_let_in_is_reported_with_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    firewall = Firewall()
    firewall.judge(counted(), PORT)
    for packets in (3, 5):
        firewall.judge(counted(names_came=packets, tunnel_came=packets, tunnel_let=packets), PORT)
        (sentence,) = firewall.lacks()
        assert "port 53, UDP and TCP" in sentence
        assert "oc-*" in sentence
    assert caplog.messages == [sentence]


def test_it_stays_until_something_is_let_through() -> None:
    firewall = Firewall()
    said = []
    for came, let in ((0, 0), (4, 0), (4, 0), (6, 0), (7, 1), (7, 1), (9, 1), (9, 3)):
        firewall.judge(counted(tunnel_came=came, tunnel_let=let), PORT)
        said.append(len(firewall.lacks()))
    assert said == [0, 1, 1, 1, 0, 0, 1, 0]


def test_the_tunnels_port_is_named() -> None:
    firewall = Firewall()
    firewall.judge(counted(), 5000)
    firewall.judge(counted(tunnel_came=1), 5000)
    assert "UDP port 5000" in firewall.lacks()[0]


def test_shut_out_neighbours_are_named_with_the_remedy() -> None:
    """Without them neither a container finds its gateway over IPv6, nor the host its containers."""
    firewall = Firewall()
    firewall.judge(counted(), PORT)
    firewall.judge(counted(neighbours_came=3), PORT)
    (sentence,) = firewall.lacks()
    assert "nd-neighbor-solicit" in sentence
    assert "nd-neighbor-advert" in sentence
    assert "oc-*" in sentence
    firewall.judge(counted(neighbours_came=5, neighbours_let=2), PORT)
    assert firewall.lacks() == ()


def test_counters_that_begin_anew_say_nothing() -> None:
    """Of what came before the first look, or before the table was replaced, only a part may be counted."""
    firewall = Firewall()
    firewall.judge(counted(names_came=9, names_let=2), PORT)
    firewall.judge(counted(names_came=1), PORT)
    assert firewall.lacks() == ()
    firewall.judge(counted(names_came=2), PORT)
    assert len(firewall.lacks()) == 1


def test_what_is_not_forwarded_is_told_by_its_direction() -> None:
    firewall = Firewall()
    firewall.judge(counted(), PORT)
    firewall.judge(counted(inward_came=3, outward_came=2, outward_let=2), PORT)
    (sentence,) = firewall.lacks()
    assert "what other nodes send to this host's containers" in sentence
    assert "--zone=docker --add-interface=orc-+" in sentence
    firewall.judge(counted(inward_came=4, inward_let=1, outward_came=3, outward_let=2), PORT)
    (sentence,) = firewall.lacks()
    assert "what its containers send" in sentence


def test_what_is_not_forwarded_over_ipv6_is_told_for_itself() -> None:
    firewall = Firewall()
    firewall.judge(counted(), PORT)
    firewall.judge(counted(inward_came=3, inward_let=3, inward6_came=2), PORT)
    (sentence,) = firewall.lacks()
    assert "what other nodes send to this host's containers over IPv6: let it forward" in sentence
    firewall.judge(counted(inward_came=3, inward_let=3, inward6_came=3, inward6_let=1), PORT)
    assert firewall.lacks() == ()
