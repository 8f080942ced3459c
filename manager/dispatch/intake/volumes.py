"""What a worker may say of its host's named volumes."""

from __future__ import annotations

import re

from common.spec.volumes import is_anonymous
from common.text.terminal import quote
from common.wire.volume_messages import MOST_GENERATIONS, MOST_VOLUMES, SeenVolume, VolumeReport
from manager.dispatch.intake.form import Form, Hearing, Implausible, Rule, entries
from manager.dispatch.intake.scalars import FLAG, choice, labels, whole, word

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_DATA_ID = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES = 2**60
_MOST_LABELS = 32
_LONGEST_LABEL = 1024


def _name(value: str, _hearing: Hearing) -> str:
    if _NAME.fullmatch(value) is None or is_anonymous(value):
        raise Implausible(f"{quote(value)} is not the name of a named volume")
    return value


def _data_id(value: str, _hearing: Hearing) -> str:
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
