"""Whatever a source sends, an engine gets the one image that was asked for, or an archive without an end."""

import io
import json
import random
import tarfile
from collections.abc import Callable

import pytest

from tests.fakes.archives import Archive, descriptor, sha256
from worker.images.archive import ImageTar, WrongImage

LAYERS = (b"one" * 1000, b"two" * 50_000)


def through(data: bytes, image_id: str, *, step: int = 10_000, leave_out: tuple[str, ...] = ()) -> bytes:
    tar = ImageTar(image_id, leave_out)
    out = [piece for start in range(0, len(data), step) for piece in tar.feed(data[start : start + step])]
    assert tar.ended, "an archive without an end"
    return b"".join(out)


def names(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() if m.isfile() else b"" for m in tar.getmembers()}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("step", [1, 511, 512, 513, 1 << 20])
def test_an_image_passes_as_it_is_in_pieces_of_any_size(legacy: bool, step: int) -> None:
    archive = Archive(b"small", b"x" * 700, legacy=legacy)
    data = archive.tar()
    assert names(through(data, archive.image_id, step=step)) == names(data)


def test_extended_headers_pass_and_count() -> None:
    archive = Archive(*LAYERS)
    data = archive.tar(tarfile.PAX_FORMAT, mtime="1.5", uname="ü")
    assert names(through(data, archive.image_id)) == names(data)


def test_layers_that_are_there_are_left_out() -> None:
    archive = Archive(*LAYERS)
    out = through(archive.tar(tarfile.PAX_FORMAT, mtime="1.5"), archive.image_id, leave_out=archive.layers[:1])
    assert names(out).keys() == names(archive.tar()).keys() - {f"blobs/sha256/{sha256(LAYERS[0])}"}
    assert len(out) < 200_000


def test_a_list_of_names_of_old_engines_does_not_pass() -> None:
    archive = Archive(*LAYERS, legacy=True)
    archive.files["repositories"] = b'{"web":{"1":"abc"}}'
    assert "repositories" not in names(through(archive.tar(), archive.image_id))


def _another(archive: Archive) -> None:
    archive.files[archive.config_name] = archive.files[archive.config_name].replace(b"linux", b"lynux")


def _two_images(archive: Archive) -> None:
    archive.manifest *= 2


def _other_image(archive: Archive) -> None:
    archive.manifest[0]["Config"] = f"blobs/sha256/{'0' * 64}"


def _names_itself(archive: Archive) -> None:
    archive.manifest[0]["RepoTags"] = ["nginx:latest"]


def _index_names(archive: Archive) -> None:
    index = {"manifests": [{"annotations": {"io.containerd.image.name": "docker.io/library/nginx:latest"}}]}
    archive.files["index.json"] = json.dumps(index).encode()


def _index_of_another(archive: Archive) -> None:
    """An engine with containerd's store takes what the index names, whatever manifest.json says."""
    other = Archive(b"evil")
    archive.files |= other.files


def _index_of_several(archive: Archive) -> None:
    index = json.dumps({"manifests": [descriptor(archive.files[f"blobs/sha256/{archive.manifest_id[7:]}"])]}).encode()
    archive.add(index)
    archive.index(descriptor(index, "index"))


def _index_of_nothing(archive: Archive) -> None:
    archive.index()


def _manifest_with_another_content(archive: Archive) -> None:
    archive.files[f"blobs/sha256/{archive.manifest_id[7:]}"] += b" "


def _climbs(archive: Archive) -> None:
    archive.files["../../etc/passwd"] = b"root::0:0"


def _extra(archive: Archive) -> None:
    archive.files["run-me.sh"] = b"#!/bin/sh"


def _garbage(archive: Archive) -> None:
    archive.files["index.json"] = b"{" * 100_000


def _no_config(archive: Archive) -> None:
    del archive.files[archive.config_name]


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (_another, "does not have the digest"),
        (_two_images, "2 images"),
        (_other_image, "not "),
        (_names_itself, "gives names"),
        (_index_names, "gives names"),
        (_index_of_another, "leads to another image"),
        (_index_of_several, "leads to another image"),
        (_index_of_nothing, "names 0 images"),
        (_manifest_with_another_content, "does not have the digest"),
        (_climbs, "belongs to no image"),
        (_extra, "belongs to no image"),
        (_garbage, "not JSON"),
        (_no_config, "does not have the digest"),
    ],
)
def test_what_was_tampered_with_has_no_end(tamper, words: str) -> None:
    archive = Archive(*LAYERS)
    tamper(archive)
    with pytest.raises(WrongImage, match=words):
        through(archive.tar(), archive.image_id)


def _with_index(archive: Archive, *more: bytes) -> str:
    """Give an archive an index of its manifest and others, as BuildKit makes it; return its digest, the image's id."""
    manifests = [archive.files[f"blobs/sha256/{archive.manifest_id[7:]}"], *more]
    index = json.dumps({"manifests": [descriptor(each) for each in manifests]}).encode()
    archive.index(descriptor(index, "index"))
    return archive.add(index)


def test_a_containerd_stores_image_passes_by_its_manifest_digest() -> None:
    archive = Archive(*LAYERS)
    assert names(through(archive.tar(), archive.manifest_id)) == names(archive.tar())


def test_an_image_passes_by_its_indexs_digest() -> None:
    archive = Archive(*LAYERS)
    attestation = json.dumps({"config": descriptor(b"{}"), "layers": []}).encode()
    archive.add(attestation)
    image_id = _with_index(archive, attestation, b"for a platform that is not here")
    assert names(through(archive.tar(), image_id)) == names(archive.tar())


@pytest.mark.parametrize("index", [False, True])
def test_a_manifest_of_another_configuration_is_refused(index: bool) -> None:
    """An engine of its own store takes what manifest.json names, whatever the index says."""
    archive, evil = Archive(*LAYERS), Archive(b"evil")
    image_id = _with_index(archive) if index else archive.manifest_id
    archive.manifest = evil.manifest
    archive.files[evil.config_name] = evil.files[evil.config_name]
    with pytest.raises(WrongImage, match="leads to another image"):
        through(archive.tar(), image_id)


def _with(member: tarfile.TarInfo, content: bytes = b"") -> tuple[Archive, bytes]:
    archive, out = Archive(*LAYERS), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in [*archive.members(), (member, content)]:
            tar.addfile(info, io.BytesIO(data))
    return archive, out.getvalue()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes) -> None:
    info = tarfile.TarInfo("a" * 64 + "/layer.tar")
    info.type, info.linkname = kind, "/etc/shadow"
    archive, data = _with(info)
    with pytest.raises(WrongImage):
        through(data, archive.image_id)


def test_a_second_manifest_is_refused() -> None:
    info = tarfile.TarInfo("manifest.json")
    info.size = 2
    archive, data = _with(info, b"[]")
    with pytest.raises(WrongImage, match="twice"):
        through(data, archive.image_id)


@pytest.mark.parametrize("key", ["linkpath", "GNU.sparse.name", "hdrcharset"])
def test_extended_headers_that_change_a_members_type_are_refused(key: str) -> None:
    archive = Archive(*LAYERS)
    with pytest.raises(WrongImage, match="extended header"):
        through(archive.tar(tarfile.PAX_FORMAT, **{key: "x"}), archive.image_id)


def test_an_extended_size_is_what_counts() -> None:
    """A member whose two sizes differ must not hide another from us that an engine sees."""
    archive = Archive(*LAYERS)
    data = bytearray(archive.tar(tarfile.PAX_FORMAT, size="0"))
    with pytest.raises(WrongImage):
        through(bytes(data), archive.image_id)


def test_an_extended_size_that_is_no_number_is_refused() -> None:
    archive = Archive(*LAYERS)
    with pytest.raises(WrongImage, match="extended header"):
        through(archive.tar(tarfile.PAX_FORMAT, size="²"), archive.image_id)


def test_a_huge_manifest_is_refused_before_it_is_read() -> None:
    info = tarfile.TarInfo("manifest.json")
    info.size = 1 << 40
    with pytest.raises(WrongImage, match="too large"):
        ImageTar("sha256:" + "0" * 64).feed(info.tobuf(tarfile.GNU_FORMAT))


def test_random_damage_never_yields_another_end() -> None:
    archive = Archive(b"l" * 2000)
    good = archive.tar()
    rng = random.Random(5)
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        tar = ImageTar(archive.image_id)
        try:
            out = b"".join(tar.feed(bytes(data)))
        except WrongImage:
            continue
        if tar.ended:
            content = names(out)
            assert sha256(content[archive.config_name]) == archive.image_id.removeprefix("sha256:")
            assert not json.loads(content["manifest.json"])[0].get("RepoTags")


def test_more_files_than_any_image_has_are_refused() -> None:
    archive = Archive()
    archive.files |= {f"{number:064x}/json": b"" for number in range(5000)}
    with pytest.raises(WrongImage, match="more than 4096 files"):
        through(archive.tar(), archive.image_id)


# --- what is made to hold up whoever reads it ---


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Write a header whose size may be any number, as base 256 allows."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\xff" if size < 0 else b"\x80") + (size % (1 << 88)).to_bytes(11)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("size", [-1, -512, -(1 << 80)])
def test_a_member_of_less_than_nothing_is_refused_at_once(kind: bytes, size: int) -> None:
    """Taken for a size, it would be read for ever."""
    tar = ImageTar("sha256:" + "0" * 64)
    with pytest.raises(WrongImage):
        tar.feed(_header("manifest.json", size, kind) + bytes(4096))


def test_what_is_named_many_times_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(b"layer")
    document = archive.files[f"blobs/sha256/{archive.manifest_id[7:]}"]
    index = json.dumps({"manifests": [descriptor(document)] * 1000}).encode()
    archive.image_id = archive.add(index)
    archive.index(descriptor(index, "index"))
    read: list[int] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: read.append(len(text)) or loads(text))
    through(archive.tar(), archive.image_id)
    assert len(read) <= 6


@pytest.mark.parametrize(
    "tamper",
    [
        lambda archive: archive.manifest[0].update(RepoTags=["x" * 1_000_000]),
        lambda archive: archive.manifest[0].update(Config="x" * 1_000_000),
        lambda archive: archive.manifest[0].update(Config="\x1b[31m\n"),
        lambda archive: archive.index({"digest": "x" * 1_000_000}),
        lambda archive: archive.files.update({"x" * 60_000: b""}),
    ],
)
def test_what_is_wrong_is_said_in_a_few_words(tamper: Callable[[Archive], None]) -> None:
    """It goes to the task's status, and so to the manager's store."""
    archive = Archive(b"layer")
    tamper(archive)
    with pytest.raises(WrongImage) as refused:
        through(archive.tar(tarfile.PAX_FORMAT), archive.image_id)
    assert len(refused.value.message) < 300
    assert refused.value.message.isprintable()
