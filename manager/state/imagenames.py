"""What names of images mean: what the cluster's clients made of them, and nothing else. Pure."""

from __future__ import annotations

from common.imagenames import full_name, pinned_id
from common.model import ImageName
from manager.state.view import View


def named(view: View, reference: str) -> ImageName | None:
    """Return the record of a name; None for one that no client has given, which each node takes by itself."""
    return view.image_names.get(full_name(reference))


def of_the_cluster(view: View, reference: str) -> ImageName | None:
    """Return the record that a reference means whose image no registry has by that name, so that none is asked.

    A reference that is pinned to an image's id means the image, by whichever name it has in the cluster.
    """
    pinned = pinned_id(reference)
    names = view.image_names.of_image(pinned) if pinned else filter(None, [named(view, reference)])
    return next((name for name in names if not name.registry), None)
