"""The own reader and writer of messages against dnspython, which knows all of DNS."""

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from worker.net.resolve import messages
from worker.net.resolve.messages import Query


def asked(name="web.", kind="A", **more):
    return dns.message.make_query(name, kind, **more)


def parsed(message):
    query = messages.parse(message.to_wire())
    assert query is not None
    return query


def test_a_question_is_read_and_its_spelling_kept():
    query = parsed(asked("TaSks.Web."))
    assert (query.name, query.type, query.payload, query.rcode) == ("tasks.web", messages.A, None, messages.NOERROR)
    answer = dns.message.from_wire(messages.addresses_message(query, [b"\x0a\0\0\1"], 5, 512))
    assert answer.question[0].name.to_text() == "TaSks.Web."
    assert answer.answer[0].to_text() == "TaSks.Web. 5 IN A 10.0.0.1"


def test_an_answer_is_as_dnspython_expects_it():
    message = asked(use_edns=0, payload=4096)
    answer = dns.message.from_wire(messages.addresses_message(parsed(message), [b"\1\2\3\4", b"\1\2\3\5"], 5, 512))
    assert message.is_response(answer)
    assert answer.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA
    assert [record.address for record in answer.answer[0]] == ["1.2.3.4", "1.2.3.5"]
    assert answer.payload == messages.LARGEST_DATAGRAM


@pytest.mark.parametrize(
    ("payload", "size"), [(None, 512), (0, 512), (900, 900), (1232, 1232), (4096, 1232), (65535, 1232)]
)
def test_datagrams_are_as_large_as_the_client_takes(payload, size):
    message = asked() if payload is None else asked(use_edns=0, payload=payload)
    query = parsed(message)
    assert query.datagram_size == size
    addresses = [bytes((10, 0, 0, number)) for number in range(100)]
    packet = messages.addresses_message(query, addresses, 5, query.datagram_size)
    assert size - 16 < len(packet) <= size
    answer = dns.message.from_wire(packet)
    assert answer.flags & dns.flags.TC
    whole = dns.message.from_wire(messages.addresses_message(query, addresses, 5, 65535))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 100


def test_what_is_cut_to_fit_exactly_is_not_marked():
    query = parsed(asked())
    size = 12 + len(query.question) + 3 * 16
    assert not messages.is_truncated(messages.addresses_message(query, [b"\1\2\3\4"] * 3, 5, size))
    assert messages.is_truncated(messages.addresses_message(query, [b"\1\2\3\4"] * 3, 5, size - 1))


def test_names_and_empty_answers():
    query = parsed(asked("5.16.0.10.in-addr.arpa.", "PTR"))
    answer = dns.message.from_wire(messages.name_message(query, "1.shop_web", 5))
    assert answer.answer[0][0].target.to_text() == "1.shop_web."
    failure = dns.message.from_wire(messages.empty_message(query, messages.SERVFAIL, own=False))
    assert failure.rcode() == dns.rcode.SERVFAIL
    assert not failure.flags & dns.flags.AA


def test_an_edns_version_that_nobody_knows_is_refused():
    query = parsed(asked(use_edns=1))
    assert query.rcode == messages.BADVERS
    assert dns.message.from_wire(messages.empty_message(query, query.rcode, own=False)).rcode() == dns.rcode.BADVERS


def test_options_and_cookies_are_passed_over():
    message = asked(use_edns=0, payload=1400, options=[dns.edns.GenericOption(10, b"cookie!!")])
    assert parsed(message).payload == 1400


HEADER = b"\x12\x34\1\0\0\1\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"\x12\x34\x28\0\0\1" + b"\0" * 6 + b"\0\0\1\0\1", messages.NOTIMP),
        (HEADER[:5] + b"\2" + HEADER[6:] + b"\3web\0\0\1\0\1" * 2, messages.FORMERR),
        (HEADER[:5] + b"\0" + HEADER[6:], messages.FORMERR),
        (HEADER + b"\3we", messages.FORMERR),
        (HEADER + b"\xc0\x0c\0\1\0\1", messages.FORMERR),
        (HEADER + b"\3web\0\0\1", messages.FORMERR),
        (HEADER + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", messages.FORMERR),
        (HEADER + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", messages.FORMERR),
        (HEADER + b"\3web\0\0\1\0\3", messages.REFUSED),
        (HEADER[:11] + b"\1" + b"\3web\0\0\1\0\1\0\0\x29\4\0\0\0\0\0\0\x09ab", messages.FORMERR),
        (HEADER[:10] + b"\xff\xff" + b"\3web\0\0\1\0\1", messages.FORMERR),
    ],
)
def test_malformed_questions_are_told_so(packet, rcode):
    query = messages.parse(packet)
    assert query is not None
    assert query.rcode == rcode
    answer = messages.empty_message(query, rcode, own=False)
    assert answer[:2] == packet[:2]
    assert messages.rcode_of(answer) == rcode


def test_what_is_no_question_gets_no_answer():
    for packet in (b"", b"\0" * 11, asked().to_wire()[:2] + b"\x81" + asked().to_wire()[3:]):
        assert messages.parse(packet) is None


def test_the_longest_name_is_read():
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert parsed(asked(name + ".")).name == name


def test_an_answer_to_another_question_is_none():
    message = asked()
    question = parsed(message).question
    answer = dns.message.make_response(message).to_wire()
    assert messages.answers_question(answer, message.id, question)
    assert messages.answers_question(answer, message.id, question.upper())
    assert not messages.answers_question(answer, message.id ^ 1, question)
    assert not messages.answers_question(message.to_wire(), message.id, question)
    assert not messages.answers_question(answer, message.id, parsed(asked("wob.")).question)
    assert not messages.answers_question(answer[:11], message.id, question)


def test_a_query_without_question_has_an_answer_of_the_same_form():
    query = Query(1, 0, rcode=messages.NOTIMP)
    assert dns.message.from_wire(messages.empty_message(query, messages.NOTIMP, own=False)).question == []
