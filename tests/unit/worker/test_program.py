"""The console script `swarm-worker`."""

import pytest

from common.version import version
from worker import program


def test_the_script_runs_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["swarm-worker", "--version"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert not ended.value.code
    assert capsys.readouterr().out.strip().endswith(version())
