"""A JSON object that stands for a struct of Go, whose fields are all there whether they are written or not."""

from __future__ import annotations

from collections.abc import Mapping


class Record(dict[str, object]):
    """The fields that are written; `absent` has the zero values of those that are not, or are written as null."""

    def __init__(self, type_name: str, written: Mapping[str, object], absent: Mapping[str, object]) -> None:
        super().__init__(written)
        self.type_name = type_name
        self.absent = absent
