"""`swarm-worker join` and `leave`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from common.process import join_token
from common.process.interrupt import interruptible
from common.process.launch import ENGINE_HOST
from common.process.usage import as_epilog
from common.text.terminal import echo
from worker.commands.agent import run_agent
from worker.commands.options import DATA_DIR, LOG_LEVEL, plain_errors
from worker.config import DEFAULT_IMAGE_PORT, DEFAULT_KEEP_IMAGES, DataDir
from worker.host import background, join, leave


@click.command(
    "join",
    epilog=as_epilog(
        """
        swarm-worker join --token SWMTKN-1-… 10.0.0.1:2377
        swarm-worker join --token-file /root/token 10.0.0.1:2377
        swarm-worker join --token SWMTKN-1-… --label disk=ssd --availability pause manager.example
        """
    ),
)
@click.argument("manager", metavar="HOST[:PORT]")
@click.option(
    "--token",
    default="",
    help="The token that 'swarm-manager join-token worker' prints; -: read it from standard input.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Read the token from a file. The default is the variable {join_token.VARIABLE}.",
)
@click.option("--advertise-addr", default="", metavar="IP", help="Address at which other hosts reach this one.")
@click.option("--docker-host", default=ENGINE_HOST, show_default=True, help="The engine to run tasks on.")
@click.option(
    "--image-port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_IMAGE_PORT,
    show_default=True,
    help="TCP port where other workers fetch images; 0: only through the manager.",
)
@click.option(
    "--keep-images",
    type=click.IntRange(0),
    default=DEFAULT_KEEP_IMAGES,
    show_default=True,
    metavar="DAYS",
    help="How long to keep images fetched from other workers after their last use; 0: for ever.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Give the node a label; repeatable.")
@click.option(
    "--availability",
    type=click.Choice(join.AVAILABILITIES),
    default="active",
    show_default=True,
    help="Whether the node takes tasks: pause keeps its tasks, drain moves them away.",
)
@click.option("--foreground", is_flag=True, help="Stay in the foreground instead of starting the service.")
@DATA_DIR
@LOG_LEVEL
@plain_errors
def join_command(
    manager: str,
    token: str,
    token_file: Path | None,
    advertise_addr: str,
    docker_host: str,
    image_port: int,
    keep_images: int,
    labels: tuple[str, ...],
    availability: str,
    foreground: bool,
    data_dir: Path,
    log_level: str,
) -> None:
    """Make this host a node of the cluster whose manager is at HOST[:PORT]."""
    data = DataDir(data_dir)
    options = join.JoinOptions(
        manager=manager,
        token=join_token.read_token(token, token_file),
        advertise_addr=advertise_addr,
        docker_host=docker_host,
        image_port=image_port,
        keep_images=keep_images,
        labels=join.parse_labels(labels),
        availability=availability,
    )
    with (
        interruptible("Interrupted: undoing the join."),
        join.take_back_unless_settled(data) as settle,
    ):
        config = asyncio.run(join.become_member(data, options, warn))
        if foreground:
            run_agent(data, log_level, settle)
            return
        status = background.start(data)
        settle()
    echo(f"This host joined cluster {config.cluster_id} as node {config.node_id}.")
    for sentence in status.lacks:
        warn(sentence)


def warn(sentence: str) -> None:
    echo(f"Warning: {sentence}", err=True)


@click.command("leave", epilog=as_epilog("swarm-worker leave"))
@DATA_DIR
@plain_errors
def leave_command(data_dir: Path) -> None:
    """Leave the cluster: stop this node's tasks, remove what they made here, forget the identity."""
    data = DataDir(data_dir)
    config = data.load()
    asyncio.run(join.engine_info(config.docker_host))
    served = background.stop_for_good(data)
    match asyncio.run(leave.leave(data, served=served)):
        case leave.Told.HEARD:
            echo("This host left the cluster.")
        case leave.Told.REMOVED:
            echo("This host left the cluster, which had already removed its node.")
        case leave.Told.UNHEARD:
            echo(
                "This host left the cluster, but no manager could be told: "
                f"remove it there with 'swarm-manager node rm --force {config.node_id}'."
            )
