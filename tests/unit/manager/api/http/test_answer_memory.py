"""However much engines say, what is held of it stays bounded, and all of it is given back."""

import pytest

from manager.api.engine.answers import BadAnswer
from manager.api.http.answer_memory import FREE, MAX_REPLY, AnswerMemory


def test_small_answers_are_never_refused() -> None:
    memory = AnswerMemory(total=0, of_node=0)
    with memory.lease() as lease:
        lease.answer("n1", "host").charge(FREE)
        with pytest.raises(BadAnswer, match="the engine of node host sends too much at once"):
            lease.answer("n1", "host").charge(FREE + 1)


def test_everything_is_given_back_when_the_request_is_over() -> None:
    memory = AnswerMemory()
    with memory.lease() as lease:
        lease.answer("n1", "host").charge(FREE + 1000)
        assert memory.held == 1000
        with lease.sublease() as part:
            part.answer("n2", "other").charge(FREE + 500)
            assert memory.held == 1500
        assert memory.held == 1000
    assert memory.held == 0


def test_a_node_that_says_much_costs_other_nodes_nothing() -> None:
    memory = AnswerMemory(total=1000, of_node=100)
    with memory.lease() as lease:
        lease.answer("n1", "a").charge(FREE + 100)
        with pytest.raises(BadAnswer):
            lease.answer("n1", "a").charge(FREE + 1)
        lease.answer("n2", "b").charge(FREE + 100)


def test_what_is_decoded_takes_more_than_its_text() -> None:
    memory = AnswerMemory()
    text = b"[" + b"0," * 10_000 + b"0]"
    with memory.lease() as lease:
        hold = lease.answer("n1", "a")
        hold.charge(len(text))
        before = memory.held
        hold.charge_decoding(text)
        assert memory.held > before + 10_000 * 100


def test_an_endless_answer_is_ended() -> None:
    memory = AnswerMemory(total=1 << 40, of_node=1 << 40)
    with memory.lease() as lease, pytest.raises(BadAnswer, match="more than 16 MiB"):
        lease.answer("n1", "a").charge(MAX_REPLY + 1)
