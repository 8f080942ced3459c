"""What CI leaves out: it has 20 minutes for everything."""

import os

import pytest

long = pytest.mark.skipif(
    os.environ.get("CI") == "true", reason="too long for CI's 20 minutes; tests/run runs it everywhere else"
)
