"""Compose files loaded from their texts, and from files that exist only here."""

import errno

import pytest

from manager.cli.compose import ComposeError, ComposeFile, Config, load


class Files:
    """A reader of files that exist only here; remembers what was asked for."""

    def __init__(self, **files: bytes) -> None:
        self.files = {f"/project/{name}": content for name, content in files.items()}
        self.asked: list[str] = []

    def __call__(self, path: str) -> bytes:
        self.asked.append(path)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.files[path]


def loaded(*texts: str, env: dict[str, str] | None = None, files: Files | None = None) -> Config:
    compose = [ComposeFile(f"{number}.yaml", text) for number, text in enumerate(texts, 1)]
    return load(compose, env or {}, files or Files(), "/project")


def refusal(*texts: str) -> list[str]:
    with pytest.raises(ComposeError) as caught:
        loaded(*texts)
    return str(caught.value).splitlines()


WEB = "services:\n  web:\n    image: web\n"
