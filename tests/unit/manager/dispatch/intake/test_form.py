"""A field without a rule cannot be said, and every message that a worker says has a form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from common.wire.codec import MESSAGE_TYPES
from common.wire.message import Message
from common.wire.messages import Hello
from manager.dispatch.intake.form import Form, Implausible, MessageContext, Rule, entries, part
from manager.dispatch.intake.messages import FORMS, parts
from manager.dispatch.intake.scalars import FLAG, NOTHING, text
from tests.fakes.validation import NOW, world

# What managers say, to workers and to each other, and workers to each other.
NOT_SAID_TO_A_MANAGER = {
    "AllApplied",
    "Assignments",
    "BecomeManager",
    "Elsewhere",
    "ForwardJoin",
    "Forwarded",
    "Link",
    "LinkWelcome",
    "ManagerJoin",
    "ManagerJoined",
    "ManagerLeave",
    "StepTaken",
    "ManagerRenew",
    "Managers",
    "ReadAt",
    "ReadIndex",
    "Taken",
    "BringImage",
    "GoodbyeAck",
    "HeartbeatAck",
    "ImageGrant",
    "ImageOffer",
    "ImageRequest",
    "ImageSources",
    "ImageWant",
    "JoinReply",
    "LeaveAck",
    "RenewCertificate",
    "Measure",
    "MeasureHost",
    "OpenStream",
    "Refused",
    "RegistryAuth",
    "RenewReply",
    "ReportVolumes",
    "RootReply",
    "SeekImage",
    "Spared",
    "StatusAck",
    "Welcome",
}


def _structs(info: Any) -> Iterator[type[msgspec.Struct]]:
    match info:
        case msgspec.inspect.StructType():
            yield info.cls
        case msgspec.inspect.UnionType():
            for option in info.types:
                yield from _structs(option)
        case msgspec.inspect.VarTupleType():
            yield from _structs(info.item_type)
        case msgspec.inspect.DictType():
            yield from _structs(info.value_type)


def test_every_message_has_a_form_or_is_not_said_to_a_manager() -> None:
    said = {kind.__name__ for kind in FORMS}
    assert said.isdisjoint(NOT_SAID_TO_A_MANAGER)
    assert said | NOT_SAID_TO_A_MANAGER == {kind.__name__ for kind in MESSAGE_TYPES}


@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.__name__)
def test_every_field_of_every_struct_within_has_a_rule(kind: type[Message]) -> None:
    for form in parts(FORMS[kind]).values():
        fields = msgspec.structs.fields(form.kind)
        assert form.rules.keys() == {field.name for field in fields}
        for field in fields:
            rule = form.rules[field.name]
            within = list(_structs(msgspec.inspect.type_info(field.type)))
            if rule is not NOTHING:  # of structs, None alone
                assert within == ([rule.form.kind] if rule.form is not None else []), f"{form.kind}.{field.name}"


class Inner(msgspec.Struct, frozen=True):
    name: str
    good: bool = True


class Outer(msgspec.Struct, frozen=True):
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    size: int = 3


def _short(value: str, _context: MessageContext) -> str:
    if len(value) > 3:
        raise Implausible(f"{value} is long")
    return value


INNER = Form(Inner, name=Rule("short", _short), good=FLAG)
OUTER = Form(Outer, inner=part(INNER), many=entries(INNER, 2), size=Rule("any", lambda value, _: value))


def take(value: Any, form: Form[Any] = OUTER) -> tuple[Any, list[tuple[str, str]]]:
    context = MessageContext(world(), NOW)
    return form.take(value, context), [(each.field, each.reason) for each in context.refusals]


def test_a_struct_with_a_field_that_has_no_rule_cannot_be_loaded() -> None:
    with pytest.raises(TypeError, match=r"Hello: every field .* needs a rule, and only those: description"):
        Form(Hello, protocol=FLAG, advertise_addr=FLAG, image_port=FLAG)
    with pytest.raises(TypeError, match=r"Inner: .*: other"):
        Form(Inner, name=text(3), good=FLAG, other=FLAG)


def test_what_holds_is_the_very_value_that_was_said() -> None:
    said = Outer(inner=Inner("a"), many=(Inner("b"), Inner("c")))
    found, refused = take(said)
    assert found is said
    assert not refused


def test_an_incomplete_part_is_left_out_and_the_rest_is_used() -> None:
    found, refused = take(Outer(inner=Inner("toolong"), many=(Inner("fine"), Inner("ok")), size=7))
    assert found == Outer(inner=None, many=(Inner("ok"),), size=7)
    assert refused == [("Inner.name", "toolong is long"), ("Inner.name", "fine is long")]


def test_more_entries_than_there_may_be_are_cut() -> None:
    found, refused = take(Outer(many=(Inner("a"), Inner("b"), Inner("c"))))
    assert [each.name for each in found.many] == ["a", "b"]
    assert refused == [("Outer.many", "it has 3 entries: the first 2 are used")]
