"""Work that is ended in its middle, in a process of its own: signals are its subject."""

import signal
import subprocess
import sys
import textwrap

import pytest

BEGINNING = """
import os, signal, time
from common.process.interrupt import attempt, interruptible

def end(number):
    os.kill(os.getpid(), number)
"""


def ran(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGINNING + textwrap.dedent(text)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_was_begun_is_undone_whatever_signals_follow(number: str) -> None:
    result = ran(
        f"""
        def undo():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                end(number)
            print("undone")

        try:
            with interruptible("Interrupted."), attempt(undo):
                try:
                    end(signal.{number})
                finally:
                    end(signal.SIGINT)  # between the first signal and what undoes
                print("not reached")
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "undone\ninterrupted\n", "Interrupted.\n")


def test_no_signal_ends_the_undoing_of_what_failed() -> None:
    result = ran(
        """
        def undo():
            end(signal.SIGINT)
            print("undone")

        with interruptible("Interrupted."), attempt(undo):
            raise SystemExit(3)
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (3, "undone\n", "")


def test_work_that_stands_is_not_undone() -> None:
    result = ran(
        """
        with interruptible(), attempt(lambda: print("undone")) as settle:
            settle()
            raise SystemExit(3)
        """
    )
    assert (result.returncode, result.stdout) == (3, "")


def test_after_the_work_signals_do_what_they_did_before() -> None:
    result = ran(
        """
        with interruptible():
            pass
        end(signal.SIGTERM)
        """
    )
    assert result.returncode == -signal.SIGTERM


def test_a_signal_that_is_ignored_stays_so() -> None:
    result = ran(
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with interruptible():
            end(signal.SIGHUP)
        print("goes on")
        """
    )
    assert (result.returncode, result.stdout) == (0, "goes on\n")
