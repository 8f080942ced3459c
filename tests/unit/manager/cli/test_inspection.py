"""What a template after `inspect --format` may name: docker's fields, whether the answer has them or not."""

import json

import pytest

from common.errors import InvalidArgument
from manager.cli import gotypes
from manager.cli.inspection import show

SERVICE = {
    "ID": "s1",
    "Version": {"Index": 7},
    "Spec": {
        "Name": "web",
        "Labels": {"team": "shop"},
        "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Mounts": [{"Target": "/data"}]}, "Resources": {}},
        "Mode": {"Global": {}},
    },
    "Endpoint": {"Spec": {}},
}
CONTAINER = {
    "Id": "c1",
    "State": {"Status": "running"},
    "Config": {"Labels": None, "Image": "web:1"},
    "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {}}},
    "NetworkSettings": {"Networks": {"front": {"IPAddress": "10.0.0.2"}}, "Ports": {"80/tcp": None}},
}
NODE = {"ID": "n1", "Spec": {"Labels": {}}, "Description": {"Hostname": "h1"}, "Status": {"State": "ready"}}


@pytest.mark.parametrize(
    ("kind", "answer", "template", "printed"),
    [
        (gotypes.SERVICE, SERVICE, "{{.Spec.TaskTemplate.ContainerSpec.Hostname}}|", "|"),
        (gotypes.SERVICE, SERVICE, "{{.Spec.TaskTemplate.ContainerSpec.Init}}", "<nil>"),
        (gotypes.SERVICE, SERVICE, "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "[]"),
        (gotypes.SERVICE, SERVICE, "{{.Spec.TaskTemplate.ForceUpdate}} {{.Endpoint.Ports}}", "0 []"),
        (gotypes.SERVICE, SERVICE, "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{else}}none{{end}}", "none"),
        (gotypes.SERVICE, SERVICE, "{{if .Spec.TaskTemplate.Resources}}given{{end}}", "given"),
        (gotypes.SERVICE, SERVICE, "{{range .Spec.TaskTemplate.ContainerSpec.Mounts}}{{.Source}}|{{end}}", "|"),
        (gotypes.SERVICE, SERVICE, "{{.Spec.Labels.team}} {{.Spec.Labels.nope}}", "shop <no value>"),
        (gotypes.SERVICE, SERVICE, '{{index .Spec.Labels "nope"}}|', "|"),
        (
            gotypes.SERVICE,
            SERVICE,
            '{{json .Endpoint.Ports}} {{join .Spec.TaskTemplate.ContainerSpec.Env ","}}|',
            "null |",
        ),
        (
            gotypes.CONTAINER,
            CONTAINER,
            '{{json .Config}} {{index .Config.Labels "x"}}|',
            '{"Labels":null,"Image":"web:1"} |',
        ),
        (gotypes.SERVICE, SERVICE, "{{json .UpdateStatus}} {{json .Version}}", 'null {"Index":7}'),
        (
            gotypes.CONTAINER,
            CONTAINER,
            "{{if .State.Health}}{{.State.Health.Status}}{{else}}no check{{end}}",
            "no check",
        ),
        (gotypes.CONTAINER, CONTAINER, "{{.ID}} {{.Config.Labels.x}} {{.HostConfig.Sysctls}}", "c1 <no value> map[]"),
        (gotypes.CONTAINER, CONTAINER, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.0.0.2"),
        (gotypes.NODE, NODE, "{{.Spec.Name}}|{{.ManagerStatus}}|{{.Status.Addr}}", "|<nil>|"),
    ],
)
def test_a_field_that_the_answer_leaves_out_has_its_zero_value(kind, answer, template, printed, capsys):
    show([(json.dumps(answer), kind)], template)
    assert capsys.readouterr().out == f"{printed}\n"


@pytest.mark.parametrize(
    ("kind", "answer", "template", "complaint"),
    [
        (
            gotypes.SERVICE,
            SERVICE,
            "{{.Nope}}",
            "template: line 1: executing at <.Nope>: can't evaluate field Nope in type swarm.Service (there are Auto",
        ),
        (
            gotypes.SERVICE,
            SERVICE,
            "{{.Spec.Mode.Replicas}}",
            "in type swarm.ServiceMode (there are Global, GlobalJob, Replicated, ReplicatedJob)",
        ),
        (gotypes.SERVICE, SERVICE, "{{.Spec.Mode.Replicated.Replicas}}", "nil has no field Replicas"),
        (gotypes.SERVICE, SERVICE, "{{.Spec.Mode.Global.Nope}}", "can't evaluate field Nope in type swarm.Global"),
        (gotypes.SERVICE, SERVICE, "{{.Spec.Name.Nope}}", "can't evaluate field Nope in web"),
        (gotypes.CONTAINER, CONTAINER, "{{.State.Health.Status}}", "nil has no field Status"),
        (gotypes.CONTAINER, CONTAINER, "{{.State.Sttus}}", "in type container.State (there are Health, Status)"),
        (gotypes.NODE, NODE, "{{.Status.Adr}}", "in type swarm.NodeStatus (there are Addr, Message, State)"),
    ],
)
def test_a_name_that_the_type_does_not_have_is_an_error_that_says_which_there_are(kind, answer, template, complaint):
    with pytest.raises(InvalidArgument) as caught:
        show([(json.dumps(answer), kind)], template)
    assert complaint in caught.value.message
