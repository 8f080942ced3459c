"""Files of tasks, as logs show them."""

from worker.interfaces.files import TaskFile


def test_a_log_shows_how_much_a_secret_has_and_not_what() -> None:
    shown = repr(TaskFile(target="/run/secrets/key", data=b"hush"))
    assert "/run/secrets/key" in shown
    assert "4 bytes" in shown
    assert "hush" not in shown
