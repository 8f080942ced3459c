"""Names of images, as the cluster's clients gave them."""

from __future__ import annotations

from common.model.naming import Object


class ImageName(Object):
    """What a name of an image means in the cluster: the image that an authenticated client gave it to last.

    `id` is the name, `repository:tag` as engines shorten it, or `repository@digest` of an image that was pulled by
    digest; `image_id` the image's id. `how` it came to be: build, load, import, commit, tag, pull, push or adopt; `by`:
    who asked for that; `node_id`: on which node's engine it happened. `registry`: whether a registry has the image by
    this name, as it was pulled or pushed; `repo_digests` are its digests there. `os`, `architecture` and `size` (bytes)
    are the image's. When it was given is `updated_at`.
    """

    image_id: str = ""
    how: str = ""
    by: str = ""
    node_id: str = ""
    registry: bool = False
    repo_digests: tuple[str, ...] = ()
    os: str = ""
    architecture: str = ""
    size: int = 0

    @property
    def name(self) -> str:
        return self.id
