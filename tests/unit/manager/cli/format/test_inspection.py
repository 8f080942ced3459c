"""What a template after `inspect --format` may name: docker's fields, whether the answer has them or not."""

import json

import pytest

from common.errors import InvalidArgument
from manager.cli.format.inspection import indent, show

SERVICE = (
    "service",
    {
        "ID": "s1",
        "Version": {"Index": 7},
        "Spec": {
            "Name": "web",
            "Labels": {"team": "shop"},
            "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Mounts": [{"Target": "/data"}]}, "Resources": {}},
            "Mode": {"Global": {}},
        },
        "Endpoint": {"Spec": {}},
    },
)
CONTAINER = (
    "container",
    {
        "Id": "c1",
        "State": {"Status": "running"},
        "Config": {"Labels": None, "Image": "web:1"},
        "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {}}},
        "NetworkSettings": {"Networks": {"front": {"IPAddress": "10.0.0.2"}}, "Ports": {"80/tcp": None}},
    },
)
NODE = (
    "node",
    {"ID": "n1", "Spec": {"Labels": {}}, "Description": {"Hostname": "h1"}, "Status": {"State": "ready"}},
)


@pytest.mark.parametrize(
    ("answer", "template", "printed"),
    [
        (SERVICE, "{{.Spec.TaskTemplate.ContainerSpec.Hostname}}|", "|"),
        (SERVICE, "{{.Spec.TaskTemplate.ContainerSpec.Init}}", "<nil>"),
        (SERVICE, "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "[]"),
        (SERVICE, "{{.Spec.TaskTemplate.ForceUpdate}} {{.Endpoint.Ports}}", "0 []"),
        (SERVICE, "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{else}}none{{end}}", "none"),
        (SERVICE, "{{if .Spec.TaskTemplate.Resources}}given{{end}}", "given"),
        (SERVICE, "{{range .Spec.TaskTemplate.ContainerSpec.Mounts}}{{.Source}}|{{end}}", "|"),
        (SERVICE, "{{.Spec.Labels.team}} {{.Spec.Labels.nope}}", "shop <no value>"),
        (SERVICE, '{{index .Spec.Labels "nope"}}|', "|"),
        (
            SERVICE,
            '{{json .Endpoint.Ports}} {{join .Spec.TaskTemplate.ContainerSpec.Env ","}}|',
            "null |",
        ),
        (
            CONTAINER,
            '{{json .Config}} {{index .Config.Labels "x"}}|',
            '{"Labels":null,"Image":"web:1"} |',
        ),
        (SERVICE, "{{json .UpdateStatus}} {{json .Version}}", 'null {"Index":7}'),
        (
            CONTAINER,
            "{{if .State.Health}}{{.State.Health.Status}}{{else}}no check{{end}}",
            "no check",
        ),
        (CONTAINER, "{{.ID}} {{.Config.Labels.x}} {{.HostConfig.Sysctls}}", "c1 <no value> map[]"),
        (CONTAINER, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.0.0.2"),
        (NODE, "{{.Spec.Name}}|{{.ManagerStatus}}|{{.Status.Addr}}", "|<nil>|"),
    ],
)
def test_a_field_that_the_answer_leaves_out_has_its_zero_value(answer, template, printed, capsys):
    kind, fields = answer
    show([(json.dumps(fields), kind)], template)
    assert capsys.readouterr().out == f"{printed}\n"


@pytest.mark.parametrize(
    ("answer", "template", "complaint"),
    [
        (
            SERVICE,
            "{{.Nope}}",
            "template: line 1: executing at <.Nope>: can't evaluate field Nope in type swarm.Service (there are Auto",
        ),
        (
            SERVICE,
            "{{.Spec.Mode.Replicas}}",
            "in type swarm.ServiceMode (there are Global, GlobalJob, Replicated, ReplicatedJob)",
        ),
        (SERVICE, "{{.Spec.Mode.Replicated.Replicas}}", "nil has no field Replicas"),
        (SERVICE, "{{.Spec.Mode.Global.Nope}}", "can't evaluate field Nope in type swarm.Global"),
        (SERVICE, "{{.Spec.Name.Nope}}", "can't evaluate field Nope in web"),
        (CONTAINER, "{{.State.Health.Status}}", "nil has no field Status"),
        (CONTAINER, "{{.State.Sttus}}", "in type container.State (there are Health, Status)"),
        (NODE, "{{.Status.Adr}}", "in type swarm.NodeStatus (there are Addr, Message, State)"),
    ],
)
def test_an_unknown_field_is_an_error_that_lists_the_known_ones(answer, template, complaint):
    kind, fields = answer
    with pytest.raises(InvalidArgument) as caught:
        show([(json.dumps(fields), kind)], template)
    assert complaint in caught.value.message


def test_numbers_and_escapes_stay_as_they_are_written():
    text = '{"a":1.0,"b":"\\u003e \\" ,","c":[],"d":{}}'
    assert indent(text) == '{\n    "a": 1.0,\n    "b": "\\u003e \\" ,",\n    "c": [],\n    "d": {}\n}'
