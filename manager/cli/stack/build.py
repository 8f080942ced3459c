"""The images of a stack that are built when it is deployed."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import InvalidArgument
from common.text.terminal import echo
from manager.cli.client import Client
from manager.cli.compose import Build, Config
from manager.cli.failures import CommandFailed
from manager.cli.image.build_context import BuildContext, BuildOptions, build, open_context


async def build_stack(client: Client, config: Config, wanted: Sequence[Build], *, quiet: bool) -> None:
    """Build the images, on the cluster; services that share an image name build it once.

    A file may come without what it was built from: then a service that names an image uses that, and a warning says so.

    Raises:
        CommandFailed: a build failed.
        ComposeError: there is nothing to build from, and no image is named.

    """
    done: dict[tuple[str, str], None] = {}
    for each in wanted:
        if (each.image, each.context) not in done:
            done[each.image, each.context] = None
            context = _context(config, each)
            if context is not None:
                await _build(client, context, each, quiet=quiet)


def _context(config: Config, each: Build) -> BuildContext | None:
    """Look at what to build from; None when it is not here and the image's name is enough."""
    try:
        return open_context(each.context, each.dockerfile, relative_to_context=True)
    except InvalidArgument as error:
        if each.required:
            raise config.error(each.at, error.message) from error
        echo(f"service {each.service} is not built, {each.image} is used as it is: {error.message}", err=True)
        return None


async def _build(client: Client, context: BuildContext, each: Build, *, quiet: bool) -> None:
    echo(f"Building image {each.image}")
    options = BuildOptions(
        tags=(each.image,),
        args=each.args,
        labels=each.labels,
        target=each.target,
        network=each.network,
        cache_from=each.cache_from,
        extra_hosts=each.extra_hosts,
    )
    try:
        await build(client, context, options, quiet=quiet)
    except CommandFailed as error:
        raise CommandFailed(f"failed to build service {each.service}: {error.message}") from error
