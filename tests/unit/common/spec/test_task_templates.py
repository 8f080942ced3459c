"""What templates of a task may name, and which are refused before a task has them."""

import pytest

from common.model.container import ContainerSpec, DriverConfig, Mount, VolumeOptions
from common.model.node import NodeDescription
from common.model.service import Platform
from common.model.task import Task
from common.spec.gotemplate import TemplateError
from common.spec.task_templates import check_templates, context, expand_file, expand_spec, file_budget
from common.spec.volumes import SCOPE_LABEL

NODE = NodeDescription(hostname="host-1", platform=Platform(architecture="x86_64", os="linux"))
TASK = Task(id="t1", service_id="s1", service_name="web", slot=2, labels={"tier": "front"})
DOT = context(TASK, "n1", NODE)


def test_the_dot_has_service_node_and_task() -> None:
    assert DOT["Service"] == {"ID": "s1", "Name": "web", "Labels": {"tier": "front"}}
    assert DOT["Node"]["Platform"] == {"Architecture": "x86_64", "OS": "linux"}
    assert DOT["Task"] == {"ID": "t1", "Name": "web.2.t1", "Slot": 2}


def test_the_slot_of_a_global_task_is_its_node() -> None:
    assert context(Task(id="t1", service_name="web"), "n1", NODE)["Task"]["Slot"] == "n1"


def test_everything_that_may_be_a_template_is_expanded() -> None:
    options = VolumeOptions(
        labels={"of": "{{.Service.Name}}", SCOPE_LABEL: "slot"},
        driver_config=DriverConfig(name="local", options={"device": "/{{.Node.Hostname}}"}),
    )
    mount = Mount(type="volume", source="d-{{.Service.Name}}", target="/{{.Task.Slot}}", volume_options=options)
    spec = ContainerSpec(
        image="{{.Service.Name}}", hostname="{{.Node.Hostname}}", env=("A={{.Task.Name}}",), mounts=(mount,)
    )
    made = expand_spec(spec, DOT)
    assert (made.image, made.hostname, made.env) == ("{{.Service.Name}}", "host-1", ("A=web.2.t1",))
    volume = made.mounts[0]
    assert (volume.source, volume.target) == ("d-web.2", "/2")
    assert volume.volume_options is not None
    assert volume.volume_options.labels["of"] == "web"
    assert volume.volume_options.driver_config == DriverConfig(name="local", options={"device": "/host-1"})


def test_an_error_says_in_which_field_it_is() -> None:
    with pytest.raises(TemplateError, match=r"cannot expand the environment 'A=\{\{\.No\}\}'"):
        expand_spec(ContainerSpec(image="i", env=("A={{.No}}",)), DOT)


def test_a_service_is_refused_for_what_no_task_can_expand() -> None:
    with pytest.raises(TemplateError, match="cannot expand the hostname"):
        check_templates(ContainerSpec(image="i", hostname="{{.Task.Nothing}}"), "web", {})
    # A node's name has no third part yet; that of some node may have.
    check_templates(ContainerSpec(image="i", hostname='{{index (split .Node.Hostname "-") 2}}'), "web", {})


def test_templates_that_together_take_too_much_are_refused() -> None:
    """No request may hold up the manager that looks at it, whatever it asks for."""
    for env in (("A={{range 1000000000000}}{{end}}",), ("A={{range 900}}{{end}}",) * 100):
        with pytest.raises(TemplateError, match=r"environment.*steps"):
            check_templates(ContainerSpec(image="i", env=env), "web", {})


def test_files_are_expanded_with_functions_of_their_own() -> None:
    functions = {"secret": lambda name: f"<{name}>"}
    assert expand_file(b'a {{secret "key"}} {{.Task.Slot}}', DOT, functions, file_budget()) == b"a <key> 2"
    with pytest.raises(TemplateError, match="it is not text"):
        expand_file(b"\xff\xfe", DOT, functions, file_budget())


def test_the_files_of_a_task_share_a_budget() -> None:
    loop, budget = b"{{range 60000}}{{end}}", file_budget()
    assert expand_file(loop, DOT, {}, budget) == b""
    with pytest.raises(TemplateError, match="steps"):
        expand_file(loop, DOT, {}, budget)
