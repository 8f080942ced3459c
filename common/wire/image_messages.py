"""Messages about images: where they are, and their way from worker to worker."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from common.wire.message import Message


class SeekImage(Message):
    """Ask a worker whether its engine has an image. Answered by `ImageSeen`.

    `reference` is an image's id or the beginning of one: what a name means no worker is asked.
    """

    KIND: ClassVar[int] = 50
    reference: str


class ImageSeen(Message):
    """The id of the image that the engine has; empty when it has none.

    The other fields are what older workers say; they are not read.
    """

    KIND: ClassVar[int] = 51
    image_id: str = ""
    repo_digests: tuple[str, ...] = ()
    tagged_at: float = 0.0
    size: int = 0
    os: str = ""
    architecture: str = ""


class FetchImage(Message):
    """A worker needs an image for its tasks: which others can give it? Answered by `ImageSources`.

    `failed` are the nodes that could not, since this worker began to ask.
    """

    KIND: ClassVar[int] = 52
    image_id: str
    failed: tuple[str, ...] = ()


class ImageSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker that has an image. `addr` is `host:port`, empty when only the manager reaches it.

    `ticket` is good for this image, from this source, by the node that asked, for a while.
    """

    node_id: str
    hostname: str
    addr: str
    ticket: str


class ImageSources(Message):
    """The sources to try, in this order. None of them: no connected node has the image."""

    KIND: ClassVar[int] = 53
    sources: tuple[ImageSource, ...] = ()


class ImageGrant(Message):
    """Tell a worker that the node `node_id` may fetch an image from it with this ticket. Sent before the ticket is."""

    KIND: ClassVar[int] = 54
    ticket: str
    image_id: str
    node_id: str


class ImageHeld(Message):
    """A worker has fetched an image: from now on it is a source itself."""

    KIND: ClassVar[int] = 55
    image_id: str


class RelayHello(Message):
    """First frame to a manager: join this connection to the source of `ticket`, which cannot be reached directly.

    After it, the same is said as to the source itself.
    """

    KIND: ClassVar[int] = 56
    ticket: str


class ImageRequest(Message):
    """First frame from a worker to another: give me this image. Answered by `ImageOffer`, or `Refused`."""

    KIND: ClassVar[int] = 57
    ticket: str
    image_id: str


class ImageOffer(Message):
    """The image is here: its size in bytes and its layers' digests (`rootfs.diff_ids`), the lowest first.

    It is the last frame this way: after `ImageWant`, bytes without frames follow, a tar as `docker save` writes it.
    """

    KIND: ClassVar[int] = 58
    size: int
    layers: tuple[str, ...]


class ImageWant(Message):
    """Send it now, but leave out the lowest `present` layers."""

    KIND: ClassVar[int] = 59
    present: int = 0


class SpareImages(Message):
    """A worker fetched these images and has not used them for long: which may it remove? Answered by `Spared`."""

    KIND: ClassVar[int] = 60
    image_ids: tuple[str, ...]


class Spared(Message):
    """The images that no service names and no task runs."""

    KIND: ClassVar[int] = 61
    image_ids: tuple[str, ...] = ()


class BringImage(Message):
    """Have a worker fetch an image that a client wants there, not a task. Answered by `Brought`."""

    KIND: ClassVar[int] = 62
    image_id: str


class Brought(Message):
    """The image is there, and the engine knows it as `name`; with `error`, it is not, and why."""

    KIND: ClassVar[int] = 63
    error: str = ""
    name: str = ""
