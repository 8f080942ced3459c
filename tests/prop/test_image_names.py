"""Names of images, whatever nodes say of them: what is shown as the cluster's is what its clients have given."""

from hypothesis import given
from hypothesis import strategies as st

from common.model import ImageName, Node
from common.text.image_names import full_name, split_tag
from manager.api.engine.types import Image
from manager.api.errors import EngineError
from manager.api.images.names import Naming, merge
from manager.api.images.own import NO_NAMES, engine_name, own_name, parse_own
from manager.api.images.progress import Progress
from manager.api.services.container_validation import is_image
from manager.store.tables import Tables
from tests.fakes.api_cluster import make_node

IDS = [f"sha256:{digit * 64}" for digit in "123"]
NODES = {"a" * 25: "h1", "b" * 25: "h2", "c" * 25: "H1", "e" * 25: "evil.node"}

part = st.from_regex(r"[a-z0-9]{1,4}([._-][a-z0-9]{1,3})?", fullmatch=True)
domain = st.from_regex(
    r"([A-Za-z0-9]{1,4}\.[a-z]{1,4}|localhost|\[[0-9a-f]{1,4}::[0-9]{1,3}\])(:[0-9]{1,5})?/", fullmatch=True
)
tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
paths = st.lists(part, min_size=1, max_size=3).map("/".join)
names = st.builds("{}{}:{}".format, st.just("") | domain, paths, tag)
few = st.sampled_from(["web:1", "web:2", "team/web:1", "reg.example:5000/db:7", "h1.node/web:1", "evil.node.node/x:1"])
said = st.lists(few | names | st.text(max_size=12) | st.just("<none>:<none>"), max_size=4)


@given(names)
def test_a_name_and_its_docker_hub_spellings_have_one_form(name: str) -> None:
    full = full_name(name)
    assert full_name(full) == full
    if (
        "." not in name.partition("/")[0]
        and name.count("/") == 1
        and not name.startswith(("localhost/", "library/", "["))
    ):
        assert full_name(f"docker.io/{name}") == full
    assert full_name(split_tag(full)[0]) == f"{split_tag(full)[0]}:latest"


@given(names)
def test_an_engines_own_name_is_a_reference_back_to_it(name: str) -> None:
    own = own_name("h1.node", name)
    if not is_image(name):
        return
    assert is_image(own)
    parsed = parse_own(own)
    assert parsed is not None
    assert engine_name(parsed, [{"Id": IDS[0], "RepoTags": [name]}]) == (name, IDS[0])


@given(
    st.dictionaries(few | names, st.sampled_from(IDS), max_size=5),
    st.dictionaries(st.sampled_from(sorted(NODES)), st.dictionaries(st.sampled_from(IDS), st.tuples(said, said))),
)
def test_no_node_shows_a_name_as_the_clusters(given_names: dict[str, str], nodes: dict) -> None:
    tables = Tables()
    for node_id, hostname in NODES.items():
        tables.of(Node).put(make_node(node_id, hostname, "10.0.0.1"))
    for name, image_id in given_names.items():
        if parse_own(name) is None:  # no client can give such a one
            tables.of(ImageName).put(ImageName(id=full_name(name), image_id=image_id))
    naming = Naming.of(tables)
    assert len(set(naming.domains.values())) == len(NODES)
    lists: dict[str, list[Image]] = {
        node_id: [{"Id": i, "RepoTags": tags, "RepoDigests": digests} for i, (tags, digests) in images.items()]
        for node_id, images in nodes.items()
    }
    for image in merge(lists, naming):
        for shown in image["RepoTags"]:
            own = parse_own(shown)
            if own is not None:
                assert own.domain in naming.domains.values()
            elif shown not in NO_NAMES:
                record = tables.image_names.get(shown)
                assert record is not None
                assert record.image_id == image["Id"]
        domains = {each.partition("/")[0] for each in image["RepoDigests"] if each not in NO_NAMES}
        assert domains <= {*naming.domains.values()}, "no client has named a digest"


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([b'{"error":"x"}', b'{"stream":"Loaded image: a:1\\n"}'])),
    st.data(),
)
def test_messages_are_heard_alike_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    text = b"\n".join(lines)
    whole, cut = Progress(), Progress()
    whole.hear(text)
    at = 0
    while at < len(text):
        size = data.draw(st.integers(1, 12))
        cut.hear(text[at : at + size])
        at += size
    for progress in (whole, cut):
        progress.end()
    assert (whole.failed, whole.loaded, whole.built) == (cut.failed, cut.loaded, cut.built)
    assert whole.failed == (b'{"error":"x"}' in text.split(b"\n"))


@given(st.text())
def test_whatever_is_no_own_name_finds_nothing(text: str) -> None:
    own = parse_own(text)
    if own is not None:
        try:
            engine_name(own, [{"Id": IDS[0], "RepoTags": ["web:1"]}])
        except EngineError:
            return
        assert own.path == "web:1"
