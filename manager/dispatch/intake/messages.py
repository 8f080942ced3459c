"""Every message that a worker says to a manager, and the form that it is taken by; that of its named volumes whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from common.clock import rfc3339
from common.errors import ProtocolError
from common.spec.volumes import is_anonymous
from common.text.terminal import quote
from common.wire.allowances import LONGEST_ERROR, LONGEST_MESSAGE
from common.wire.image_messages import Brought, FetchImage, ImageHeld, ImageSeen, RelayHello, SpareImages
from common.wire.membership_messages import Applied, AwaitApplied, Goodbye, Unfit, Withdraw
from common.wire.message import Message
from common.wire.messages import CertificateStored, Heartbeat, Leave, Resync, RootRequest, StreamHello
from common.wire.volume_copy import MOST_GENERATIONS, MOST_VOLUMES, SeenVolume, VolumeReport
from manager.dispatch.intake.containers import ATTACHMENT_REPORT
from manager.dispatch.intake.form import Dropped, Form, Implausible, MessageContext, Rule, entries
from manager.dispatch.intake.nodes import DESCRIPTION, HELLO, JOIN_REQUEST, MOST_BYTES, NODE_REPORT, RENEW_REQUEST
from manager.dispatch.intake.scalars import (
    FLAG,
    IMAGE_ID,
    IMAGE_NAME,
    MAX_INTEGER,
    choice,
    labels,
    several,
    text,
    whole,
    word,
)
from manager.dispatch.intake.tasks import HOST_USAGE, STATUS_REPORT, USAGE

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_DATA_ID = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES = 2**60
_MOST_LABELS = 32
_LONGEST_LABEL = 1024


def _name(value: str, _context: MessageContext) -> str:
    if _NAME.fullmatch(value) is None or is_anonymous(value):
        raise Implausible(f"{quote(value)} is not the name of a named volume")
    return value


def _data_id(value: str, _context: MessageContext) -> str:
    if value and _DATA_ID.fullmatch(value) is None:
        raise Implausible(f"{quote(value)} is not a volume's lineage")
    return value


SEEN = Form(
    SeenVolume,
    needed=("name", "data_id", "generation"),
    name=Rule("a volume's name, not one that an engine made up", _name),
    data_id=Rule("32 hexadecimal digits", _data_id),
    generation=whole(0, MOST_GENERATIONS, "0 to 2³¹"),
    driver=word(255),
    scope=choice("", "local", "global"),
    options=labels(_MOST_LABELS, _LONGEST_LABEL),
    labels=labels(_MOST_LABELS, _LONGEST_LABEL),
    size=whole(-1, _MOST_BYTES, "-1 to 1 EiB"),
)
VOLUME_REPORT = Form(VolumeReport, volumes=entries(SEEN, MOST_VOLUMES), more=FLAG, cut=FLAG)


M = TypeVar("M", bound=Message)

_WORD = word(64)
# As many nodes, names and images as a message names at most.
_MOST_NODES = 4096
_MOST_NAMES = 128
_MOST_IMAGES = 10_000


def _check_tagged_at(value: float, context: MessageContext) -> float:
    if not 0 <= value <= context.now:
        raise Implausible(f"an image was tagged at {value:g}, and now it is {rfc3339(context.now)}")
    return value


FORMS: Mapping[type[Message], Form[Any]] = MappingProxyType(
    {
        form.kind: form
        for form in (
            # Without a certificate.
            Form(RootRequest),
            JOIN_REQUEST,
            # What connections begin with.
            HELLO,
            Form(Withdraw),
            Form(Unfit, reason=text(LONGEST_MESSAGE)),
            Form(StreamHello, needed=("stream_id",), stream_id=_WORD, error=text(LONGEST_MESSAGE), half_close=FLAG),
            Form(RelayHello, needed=("ticket",), ticket=_WORD),
            # In a session.
            Form(Heartbeat),
            STATUS_REPORT,
            NODE_REPORT,
            ATTACHMENT_REPORT,
            USAGE,
            HOST_USAGE,
            VOLUME_REPORT,
            RENEW_REQUEST,
            Form(CertificateStored, needed=("serial",), serial=_WORD),
            Form(Resync),
            Form(Applied, number=whole(1, MAX_INTEGER, "a set that was sent")),
            Form(AwaitApplied),
            Form(
                FetchImage,
                image_id=IMAGE_ID,
                failed=several(_WORD, _MOST_NODES, "nodes' ids"),
            ),
            Form(ImageHeld, image_id=IMAGE_ID),
            Form(
                ImageSeen,
                image_id=IMAGE_ID,
                repo_digests=several(IMAGE_NAME, _MOST_NAMES, "images' names"),
                tagged_at=Rule("not after now", _check_tagged_at),
                size=whole(0, MOST_BYTES, "0 to 1 EiB"),
                os=_WORD,
                architecture=_WORD,
            ),
            Form(SpareImages, image_ids=several(IMAGE_ID, _MOST_IMAGES, "images' ids")),
            Form(Brought, error=text(LONGEST_ERROR), name=IMAGE_NAME),
            Form(Goodbye, host=FLAG),
            Form(Leave),
        )
    }
)


def validate(message: M, context: MessageContext) -> M | None:
    """Return what of a message may be used, None when that is nothing; `context` has the refusals then.

    Raises:
        ProtocolError: no worker says this to a manager.

    """
    form: Form[M] | None = FORMS.get(type(message))
    if form is None:
        raise ProtocolError(f"a worker does not say {type(message).__name__}")
    try:
        return form.take(message, context)
    except Dropped:
        return None


def parts(form: Form[Any]) -> dict[str, Form[Any]]:
    """Return a form, and those of all structs within, by the names of their structs."""
    found = {form.kind.__name__: form}
    for rule in form.rules.values():
        if rule.form is not None:
            found |= parts(rule.form)
    return found


# Where a worker says what its host is, all of it each time: what is said now takes the place of what was refused.
OF_DESCRIPTION = frozenset(f"{name}.{field}" for name, form in parts(DESCRIPTION).items() for field in form.rules)
ADDRESS = "Hello.advertise_addr"
OF_HELLO = OF_DESCRIPTION | {ADDRESS, "Hello.image_port"}
