"""What `volume` prints."""

from manager.cli.network.volume_copies import path_of
from manager.cli.network.volume_rows import VOLUMES, rows


def entry(name: str, node: str) -> dict[str, object]:
    labels = {"swarm.x.node": node, "team": "shop"}
    return {"Name": name, "Driver": "local", "Scope": "local", "Mountpoint": f"/v/{name}", "Labels": labels}


def test_a_name_that_several_nodes_have_is_written_with_the_node() -> None:
    found = rows([entry("v10", "h1"), entry("v2", "h2"), entry("v2", "h1")])
    assert VOLUMES.render(found, quiet=True) == "h1/v2\nh2/v2\nv10\n"
    assert VOLUMES.render(found, "{{.Name}} {{.Node}} {{.Labels}}").splitlines()[0] == "v2 h1 team=shop"
    assert VOLUMES.render(found).splitlines()[0].split() == ["VOLUME", "NAME", "NODE", "USED", "BY", "SIZE", "STATE"]


def test_the_path_of_a_volume() -> None:
    assert path_of("h1/my data") == "/volumes/h1/my%20data"
