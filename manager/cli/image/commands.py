"""`swarm-manager image`: the images of the whole cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import click

from common.errors import InvalidArgument
from common.text.image_names import split_tag
from common.text.quantities import human_decimal, human_duration
from common.text.terminal import echo
from manager.cli.client import Client, filter_query
from manager.cli.command import SwarmCommand, SwarmGroup, address, flag
from manager.cli.completion import complete_images, complete_nodes
from manager.cli.files.pruning import filters_flag, force_flag, run_prune
from manager.cli.flags.types import LABEL, VARIABLE
from manager.cli.format.inspection import inspect
from manager.cli.format.listing import group_filters, inspect_format_flag, listing
from manager.cli.format.tables import Row, Table
from manager.cli.image import transfer
from manager.cli.image.build_context import BuildOptions, build, open_context
from manager.cli.node.commands import resolve
from manager.cli.session import with_client
from manager.cli.several import finish, print_each

_NONE = "<none>"
_UNKNOWN = "N/A"
IMAGES = Table(
    columns=("{{.Repository}}", "{{.Tag}}", "{{.ID}}", "{{.CreatedSince}}", "{{.Size}}"),
    headings={
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "Containers": "CONTAINERS",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
        "VirtualSize": "SIZE",
    },
    key="ID",
)
WITH_DIGESTS = replace(IMAGES, columns=(*IMAGES.columns[:2], "{{.Digest}}", *IMAGES.columns[2:]))


@click.command(
    "adopt",
    cls=SwarmCommand,
    examples="""
    swarm-manager image adopt host-2 web:1
    swarm-manager image adopt host-2 web:1 team/web:7
    swarm-manager image adopt --all host-2
    """,
)
@click.argument("node", metavar="NODE", shell_complete=complete_nodes)
@click.argument("name", metavar="[NAME[:TAG]]", default="")
@click.argument("new_name", metavar="[NEW_NAME[:TAG]]", default="")
@flag("-a", "--all", "everything", is_flag=True, default=False, help="Adopt all names that the node's engine has.")
@flag("-f", "--force", is_flag=True, default=False, help="Adopt a name even if it means another image in the cluster.")
@with_client
async def adopt(client: Client, /, node: str, name: str, new_name: str, *, everything: bool, force: bool) -> None:
    """Make a name that only one node's engine has for an image one of the cluster, and print the image's ID.

    It means what that node has by it now. NODE may be `self`, the manager's own host.
    """
    if everything == bool(name):
        raise InvalidArgument("name an image of the node, or use --all for all that it has")
    body = {"Name": name, "NewName": new_name, "All": everything, "Force": force}
    reference = quote(await resolve(client, node), safe="")
    answer = await client.post(f"/nodes/{reference}/images/adopt", body)
    for each in answer["Adopted"]:
        echo(f"{each['Name']} {each['ID']}")
    finish(
        [
            f"{each['Name']} is not adopted: {each['Message']}; here it is {each['ID']}"
            for each in answer["Refused"] or ()
        ]
    )


@click.group(cls=SwarmGroup)
def image() -> None:
    """Manage the cluster's images: built on one node, run on any, without a registry."""


def _of_buildkit(*words: str) -> Callable[[Any], Any]:
    """Declare a flag that only BuildKit's own protocol has, which docker speaks: giving it says so."""
    *names, metavar = words

    def refuse(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
        if value:
            ctx.fail(
                f"{max(param.opts, key=len)} is BuildKit's, which docker speaks to at the same address: "
                f"docker -H {address(ctx)} build …"
            )

    return flag(
        *names, multiple=True, metavar=metavar, expose_value=False, callback=refuse, help="Of docker build: says how."
    )


@image.command(
    "build",
    cls=SwarmCommand,
    examples="""
    swarm-manager image build -t web:1 .
    swarm-manager image build -t web:1 -f docker/Dockerfile --build-arg VERSION=7 .
    """,
)
@click.argument("folder", metavar="PATH")
@flag("-t", "--tag", "tags", multiple=True, metavar="NAME[:TAG]", help="Name of the image; repeatable.")
@flag("-f", "--file", "dockerfile", default="", metavar="PATH", help='The Dockerfile (default "PATH/Dockerfile").')
@flag("--build-arg", "args", type=VARIABLE, multiple=True, metavar="NAME=VALUE", help="Set a build argument.")
@flag("--label", "labels", type=LABEL, multiple=True, metavar="NAME=VALUE", help="Give the image a label.")
@flag("--target", default="", metavar="STAGE", help="Build up to this stage.")
@flag("--network", default="", metavar="MODE", help="Network of RUN steps.")
@flag("--platform", default="", metavar="OS/ARCH", help="Platform of the image.")
@flag("--no-cache", is_flag=True, default=False, help="Do not use the build cache.")
@flag("--pull", is_flag=True, default=False, help="Ask registries for newer base images.")
@flag(
    "--progress",
    default="auto",
    words=("auto", "plain", "tty"),
    expose_value=False,
    help="Taken as docker's; progress is always in lines.",
)
@_of_buildkit("--secret", "id=ID,src=PATH")
@_of_buildkit("--ssh", "default|ID=SOCKET")
@_of_buildkit("-o", "--output", "type=TYPE,dest=PATH")
@flag("-q", "--quiet", is_flag=True, default=False, help="Print the image's ID only.")
@with_client
async def build_image(client: Client, /, folder: str, dockerfile: str, *, quiet: bool, **given: Any) -> None:
    """Build an image from a Dockerfile on the cluster's builder."""
    context = open_context(folder, dockerfile)
    # One that is named alone and is not set here is left to the Dockerfile.
    args = dict(each.split("=", 1) for each in given["args"] if "=" in each)
    options = BuildOptions(**{**given, "args": args, "labels": dict(given["labels"])})
    image_id = await build(client, context, options, quiet=quiet)
    if quiet:
        echo(image_id)


@image.command(
    "ls",
    cls=SwarmCommand,
    aliases=("list",),
    examples="""
    swarm-manager image ls
    swarm-manager image ls --filter reference='web:*' --format '{{.Repository}}:{{.Tag}} {{.Size}}'
    """,
)
@click.argument("name", required=False, default="", metavar="[REPOSITORY[:TAG]]", shell_complete=complete_images)
@listing
@flag("-a", "--all", "everything", is_flag=True, default=False, help="Show intermediate images too.")
@flag("--digests", is_flag=True, default=False, help="Show digests.")
@flag("--no-trunc", is_flag=True, default=False, help="Do not truncate IDs.")
@with_client
async def list_images(
    client: Client,
    /,
    name: str,
    filters: tuple[tuple[str, str], ...],
    layout: str,
    *,
    quiet: bool,
    everything: bool,
    digests: bool,
    no_trunc: bool,
) -> None:
    """List the images of all nodes, or those of one name."""
    groups = group_filters(filters)
    wanted = {**groups, "reference": [*groups.get("reference", []), name]} if name else groups
    found = await client.get("/images/json", {**filter_query(wanted), **({"all": "1"} if everything else {})})
    digests = digests or ".Digest" in layout
    table = WITH_DIGESTS if digests else IMAGES
    echo(table.render(rows(found, time.time(), full=no_trunc, digests=digests), layout, quiet=quiet), nl=False)


@image.command(
    "rm",
    cls=SwarmCommand,
    aliases=("remove",),
    examples="""
    swarm-manager image rm web:1
    swarm-manager image rm --force 3f6c1a2b9d04
    """,
)
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=complete_images)
@flag("-f", "--force", is_flag=True, default=False, help="Remove it even if a service or a container uses it.")
@flag("--no-prune", is_flag=True, default=False, help="Do not delete untagged parents.")
@with_client
async def remove_images(client: Client, /, names: tuple[str, ...], *, force: bool, no_prune: bool) -> None:
    """Remove images from all nodes."""
    query = {**({"force": "1"} if force else {}), **({"noprune": "1"} if no_prune else {})}

    async def one(name: str) -> list[str]:
        removed = await client.delete(f"/images/{name}", query)
        return [f"{what}: {name}" for done in removed for what, name in done.items()]

    await print_each(names, one)


@image.command("inspect", cls=SwarmCommand, examples="swarm-manager image inspect -f '{{.Os}}/{{.Architecture}}' web:1")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=complete_images)
@inspect_format_flag()
@with_client
async def inspect_images(client: Client, /, names: tuple[str, ...], layout: str) -> None:
    """Show all that is known of one or more images."""
    await inspect(names, lambda name: client.get_text(f"/images/{name}/json"), "image", layout)


@image.command("tag", cls=SwarmCommand, examples="swarm-manager image tag web:1 registry.example/team/web:1")
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]", shell_complete=complete_images)
@click.argument("target", metavar="TARGET_IMAGE[:TAG]", shell_complete=complete_images)
@with_client
async def tag_image(client: Client, /, source: str, target: str) -> None:
    """Give an image another name, on every node that has it."""
    name = transfer.parse_name(target)
    await client.post(f"/images/{source}/tag", params={"repo": name.name, "tag": name.tag})


@image.command("prune", cls=SwarmCommand, examples="swarm-manager image prune --all --filter until=240h")
@flag(
    "-a", "--all", "everything", is_flag=True, default=False, help="Remove all unused images, not only untagged ones."
)
@filters_flag
@force_flag
@with_client
async def prune(client: Client, /, filters: tuple[tuple[str, str], ...], *, everything: bool, force: bool) -> None:
    """Remove unused images, of every node that answers; never one that a service names."""
    what = "images without at least one container associated to them" if everything else "dangling images"
    wanted = group_filters(filters, dangling=["false" if everything else "true"])
    await run_prune(client, "image", f"all {what}", wanted, force=force)


for command in (adopt, transfer.load, transfer.pull, transfer.push, transfer.save):
    image.add_command(command)


# --- rows ---


def rows(images: Iterable[Any], now: float, *, full: bool = False, digests: bool = False) -> list[Row]:
    """Make the rows of images as /images/json lists them; `full` leaves ids whole, `digests` are looked for."""
    return [row for image in images for row in _rows(image, now, full=full, digests=digests)]


def _rows(image: Any, now: float, *, full: bool, digests: bool) -> Iterator[Row]:
    unknown = image.get("Containers", -1) < 0
    shown = {
        "ID": image["Id"] if full else image["Id"].removeprefix("sha256:")[:12],
        "CreatedSince": f"{human_duration(max(0.0, now - image['Created']))} ago",
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(image["Created"])),
        "Size": human_decimal(image["Size"]),
        "Containers": _UNKNOWN if unknown else str(image["Containers"]),
        "SharedSize": _UNKNOWN if (shared := image.get("SharedSize", -1)) < 0 else human_decimal(shared, 4),
        "UniqueSize": _UNKNOWN if shared < 0 else human_decimal(image["Size"] - shared, 4),
        "VirtualSize": human_decimal(image["Size"], 4),
    }
    for repository, tag, digest in _names(image, digests=digests):
        yield {**shown, "Repository": repository, "Tag": tag, "Digest": digest}


def _names(image: Any, *, digests: bool) -> Iterator[tuple[str, str, str]]:
    """Yield what an image is called: each tag, and each repository that it has a digest of, but no tag.

    With `digests`, a tag has a line for each digest of its repository.
    """
    tags = [split_tag(name) for name in image.get("RepoTags") or ()]
    known: dict[str, list[str]] = {}
    for name in image.get("RepoDigests") or ():
        repository, _, digest = name.partition("@")
        known.setdefault(repository, []).append(digest)
    for repository, tag in tags:
        for digest in (digests and known.get(repository)) or [_NONE]:
            yield repository, tag, digest
    tagged = {repository for repository, _ in tags}
    for repository in known.keys() - tagged:
        for digest in known[repository] if digests else [""]:
            yield repository, _NONE, digest
    if not tags and not known:
        yield _NONE, _NONE, _NONE
