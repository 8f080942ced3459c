"""How workers' connections do, in numbers."""

from manager.metrics.contacts import Contact, Contacts, Deliveries


def test_a_node_is_as_old_as_what_was_heard_of_it_last():
    contacts, heard = Contacts(), [10.0]
    assert contacts.of({"a"}, 10.0) == {}
    contacts.begun("a", lambda: heard[0])
    assert contacts.of({"a"}, 12.0) == {"a": Contact(2.0, 1)}
    heard[0] = 13.0
    assert contacts.of({"a"}, 13.5) == {"a": Contact(0.5, 1)}
    contacts.ended("a", heard[0])
    heard[0] = 99.0
    assert contacts.of({"a"}, 20.0) == {"a": Contact(7.0, 1)}
    assert (contacts.age("a", 20.0), contacts.age("b", 20.0)) == (7.0, None)


def test_a_clock_is_known_while_its_node_is_connected():
    contacts = Contacts()
    contacts.begun("a", lambda: 10.0)
    contacts.note_offset("a", -3.5)
    assert contacts.of({"a"}, 10.0)["a"].clock_offset == -3.5
    contacts.ended("a", 10.0)
    assert contacts.of({"a"}, 10.0)["a"].clock_offset is None


def test_each_connection_counts_until_its_node_is_gone():
    contacts = Contacts()
    for _ in range(3):
        contacts.begun("a", lambda: 1.0)
    contacts.begun("b", lambda: 1.0)
    assert {name: each.connects for name, each in contacts.of({"a", "b"}, 1.0).items()} == {"a": 3, "b": 1}
    assert contacts.of({"b"}, 1.0).keys() == {"b"}
    contacts.begun("a", lambda: 1.0)
    assert contacts.of({"a", "b"}, 1.0)["a"].connects == 1


def test_a_delay_is_told_of_each_set_once():
    delays: list[float] = []
    deliveries = Deliveries(delays.append)
    deliveries.sent(1, 10.0)
    deliveries.sent(1, 11.0)  # the same set, and what goes with it
    deliveries.sent(2, 12.0)
    deliveries.sent(3, 13.0)
    deliveries.applied(2, 14.0)
    assert delays == [4.0, 2.0]
    deliveries.applied(2, 15.0)
    deliveries.applied(3, 15.0)
    assert delays == [4.0, 2.0, 2.0]


def test_a_worker_that_says_nothing_takes_no_memory():
    delays: list[float] = []
    deliveries = Deliveries(delays.append)
    for number in range(1, 501):
        deliveries.sent(number, float(number))
    deliveries.applied(500, 501.0)
    assert len(delays) == 100
