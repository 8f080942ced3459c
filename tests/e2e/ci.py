"""What CI leaves out: it has half an hour for everything."""

import os

import pytest

long = pytest.mark.skipif(
    os.environ.get("CI") == "true", reason="too long for CI's half hour; tests/run runs it everywhere else"
)
