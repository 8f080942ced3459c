"""Specifications as JSON for the API, with every value that an engine would otherwise take as Go's zero."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from common.model.naming import Model


def to_json(value: Any) -> Any:
    """Turn a specification into JSON data.

    The model omits defaults, the API reads what is missing as zero; so a field is left out only when it is zero and its
    default is too. (An update's parallelism of 1 is our default and must be written, or it would mean "all at once".)
    """
    if isinstance(value, Model):
        fields = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {field.encode_name: to_json(item) for field, item in fields if _written(item, field)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def _written(item: Any, field: msgspec.structs.FieldInfo) -> bool:
    if item is None:
        return False
    if item or isinstance(item, Model):
        return True
    made_by_default = field.default_factory is not msgspec.NODEFAULT
    return not made_by_default and (field.default is None or bool(field.default))
