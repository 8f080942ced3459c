"""Members of etcd follow the managers there are to be: never without a majority, one at a time, and to the end."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from manager.orchestrate.etcd_members import (
    AddLearner,
    HandOver,
    Nothing,
    Promote,
    Remove,
    Step,
    majority,
    next_step,
    reason_to_keep,
)
from manager.store.backends.etcd.members import Member

NAMES = "abcdefg"


def url(name: str) -> str:
    return f"https://{name}:2380"


def members(names: str, learner: str = "", unnamed: str = "") -> list[Member]:
    """Return members that vote, and a learner; those of `unnamed` have not come up yet."""
    return [
        Member(NAMES.index(name) + 1, "" if name in unnamed else name, url(name), learner=name in learner)
        for name in names + learner
    ]


def wanted(names: str) -> dict[str, str]:
    return {name: url(name) for name in names}


def test_a_manager_more_is_added_without_a_vote_and_promoted() -> None:
    assert next_step("a", wanted("ab"), members("a"), "ab") == AddLearner("b", url("b"))
    learner = members("a", learner="b")
    assert next_step("a", wanted("ab"), learner, "ab") == Promote(learner[1])
    assert next_step("a", wanted("ab"), members("ab"), "ab") == Nothing()


def test_a_learner_that_still_catches_up_gets_no_vote_yet() -> None:
    """With a vote it would be asked for it, and answer only then: with two managers nothing was decided for 6 s."""
    learner = members("a", learner="b")
    waits = Nothing("the etcd of manager b to take over what it was sent")
    assert next_step("a", wanted("ab"), learner, "ab", behind=learner[1:]) == waits
    assert next_step("a", wanted("a"), learner, "ab", behind=learner[1:]) == Remove(learner[1]), "it need not end that"


def test_only_one_is_added_at_a_time() -> None:
    here = members("a", learner="b", unnamed="b")
    assert next_step("a", wanted("abc"), here, "ac") == Nothing("manager b to start its etcd")
    assert next_step("a", wanted("abc"), here, "abc") == Promote(here[1])


def test_a_manager_that_cannot_be_reached_is_not_added() -> None:
    assert next_step("a", wanted("ab"), members("a"), "a") == Nothing("manager b to be reachable")


def test_a_learner_that_is_not_wanted_any_more_goes() -> None:
    here = members("a", learner="b", unnamed="b")
    assert next_step("a", wanted("a"), here, "a") == Remove(here[1])
    assert next_step("a", wanted("ac"), here, "ac") == Remove(here[1]), "before the next is added"


def test_a_dead_manager_is_removed_before_another_comes() -> None:
    here = members("abc")
    assert next_step("a", wanted("abd"), here, "abd") == Remove(here[2])


def test_a_leader_that_is_to_go_hands_over_first() -> None:
    assert next_step("a", wanted("bc"), members("abc"), "abc") == HandOver()
    assert next_step("a", wanted("b"), members("a"), "ab") == AddLearner("b", url("b")), "nobody else can lead yet"
    assert isinstance(next_step("a", wanted("b"), members("ab"), "a"), Nothing)


def test_nobody_goes_who_is_needed_for_a_majority() -> None:
    step = next_step("a", wanted("ab"), members("abc"), "ac")
    assert step == Nothing(
        "without manager c, 2 managers would be left, of which 2 are needed and 1 answer: not reached: b"
    )
    assert reason_to_keep("a", members("a"), "a") == "manager a is the last one: the cluster would end"
    assert reason_to_keep("c", members("abc"), "ab") == ""


def apply(step: Step, now: list[Member], number: int) -> list[Member]:
    """Return the members after a step, as etcd does it."""
    match step:
        case AddLearner(_, peer_url):
            assert not any(each.learner for each in now), "etcd has one learner at a time"
            assert peer_url not in [each.peer_url for each in now], "etcd refuses a second member with the same URL"
            return [*now, Member(number, "", peer_url, learner=True)]
        case Promote(member):
            named = dataclasses.replace(member, name=member.peer_url[8:9], learner=False)
            return [named if each == member else each for each in now]
        case Remove(member):
            return [each for each in now if each != member]
        case _:
            return now


subsets = st.sets(st.sampled_from(NAMES)).map(lambda chosen: "".join(sorted(chosen)))


@given(subsets.filter(bool), subsets, subsets.filter(bool), subsets, st.data())
def test_steps_end_at_what_is_wanted_and_keep_the_majority(
    voting: str, learning: str, managers: str, away: str, data: st.DataObject
) -> None:
    learner = next((name for name in learning if name not in voting), "")
    now = members(voting, learner, unnamed=learner if data.draw(st.booleans()) else "")
    leader = voting[0]
    reachable = {leader, *NAMES} - set(away) | {leader}
    if len(reachable & set(voting)) < majority(len(voting)):
        reachable |= set(voting)  # without a majority nobody leads, and nobody takes steps
    complete = reachable >= {*managers, *voting}
    for number in range(100, 130):
        step = next_step(leader, wanted(managers), now, reachable)
        if isinstance(step, Nothing):
            break
        if isinstance(step, HandOver):
            leader = next(each.name for each in now if each.name in managers and each.name in reachable)
        before = {each.name for each in now if not each.learner}
        now = apply(step, now, number)
        voters = {each.name for each in now if not each.learner}
        assert len(before ^ voters) <= 1
        assert leader in voters
        assert len(voters & reachable) >= majority(len(voters))
        assert not (isinstance(step, Remove) and step.member.name in set(managers))
    else:
        raise AssertionError("the steps do not end")
    if complete:
        assert {each.name for each in now} == set(managers)
        assert step == Nothing()
    elif {each.name for each in now} != set(managers):
        assert step.waits_for
