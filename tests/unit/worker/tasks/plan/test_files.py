import pytest

from common.errors import InvalidArgument
from common.model.container import (
    ConfigReference,
    ContainerSpec,
    DriverConfig,
    FileTarget,
    RuntimeTarget,
    SecretReference,
)
from common.model.secret import Config, ConfigSpec, Secret, SecretSpec
from common.spec.gotemplate import TemplateError
from tests.unit.worker.worlds import make_task
from worker.interfaces.files import TaskFile
from worker.tasks.plan.files import Materials, task_files

GOLANG = DriverConfig(name="golang")


def secret(data=b"hush", **more):
    return Materials(secrets={"s": Secret(id="s", spec=SecretSpec(name="key", data=data, **more))})


def config(data=b"text", **more):
    return Materials(configs={"c": Config(id="c", spec=ConfigSpec(name="conf", data=data, **more))})


def secret_spec(**target):
    return ContainerSpec(secrets=(SecretReference(secret_id="s", secret_name="key", file=FileTarget(**target)),))


def config_spec(file=None, env=(), **more):
    reference = ConfigReference(config_id="c", config_name="conf", file=file, **more)
    return ContainerSpec(configs=(reference,), env=env)


def files(spec, materials, dot=None):
    return task_files(spec, materials, dot or {})


def test_a_secret_is_below_run_secrets_with_its_owner_and_mode():
    spec = secret_spec(name="tls.key", uid="1000", gid="44", mode=0o400)
    assert files(spec, secret()) == (
        TaskFile(target="/run/secrets/tls.key", data=b"hush", uid=1000, gid=44, mode=0o400),
    )


def test_an_absolute_target_is_kept():
    assert files(secret_spec(name="/etc/key"), secret())[0].target == "/etc/key"


def test_a_config_is_at_the_root_unless_told():
    assert files(config_spec(), config())[0].target == "/conf"
    assert files(config_spec(FileTarget(name="/etc/app.ini")), config())[0].target == "/etc/app.ini"


def test_a_config_for_the_runtime_is_no_file():
    assert files(config_spec(runtime=RuntimeTarget()), config()) == ()


def test_names_of_owners_are_refused():
    with pytest.raises(InvalidArgument, match="must be numbers, not 'www-data':'0'"):
        files(secret_spec(name="key", uid="www-data"), secret())


@pytest.mark.parametrize("name", ["../../etc/passwd", "/run/../etc/passwd", "a\0b", "a\nb", "/a\x1b[31m", "x" * 5000])
def test_a_path_that_leads_elsewhere_is_refused(name):
    for spec, materials in ((secret_spec(name=name), secret()), (config_spec(FileTarget(name=name)), config())):
        with pytest.raises(InvalidArgument, match="is not an absolute path without"):
            files(spec, materials)


@pytest.mark.parametrize("uid", ["-1", "4294967295", "1" * 5000, "\uff11", " 1", "root\n"])
def test_an_owner_that_the_kernel_has_no_number_for_is_refused(uid):
    with pytest.raises(InvalidArgument, match="the owner of /run/secrets/key") as refused:
        files(secret_spec(name="key", uid=uid), secret())
    assert len(refused.value.message) < 200
    assert files(secret_spec(name="key", uid="4294967294", gid=""), secret())[0].uid == 4294967294


def test_a_templated_config_sees_task_environment_and_secrets():
    spec = ContainerSpec(
        configs=config_spec().configs,
        secrets=secret_spec(name="tls.key").secrets,
        env=("MODE=prod",),
    )
    text = b'{{.Task.Slot}} {{env "MODE"}}{{env "NONE"}} {{secret "tls.key"}} {{secret "key"}}'
    materials = Materials(secrets=secret().secrets, configs=config(text, templating=GOLANG).configs)
    assert files(spec, materials, {"Task": {"Slot": 3}})[1].data == b"3 prod hush hush"


def test_without_templating_content_is_never_touched():
    assert files(config_spec(), config(b"{{.Nope}} \xff"))[0].data == b"{{.Nope}} \xff"


def test_a_template_that_names_nothing_is_refused():
    with pytest.raises(TemplateError, match=r"cannot expand the config conf: .*has no secret 'other'"):
        files(config_spec(), config(b'{{secret "other"}}', templating=GOLANG))


def test_a_secret_that_is_no_template_is_not_quoted():
    with pytest.raises(TemplateError) as caught:
        files(secret_spec(name="key"), secret(b"{{hunter2}}", templating=GOLANG))
    assert caught.value.message == "the secret key cannot be expanded as a template"
    assert caught.value.__cause__ is None


def test_what_is_missing_is_named():
    task = make_task(container=ContainerSpec(secrets=secret_spec(name="x").secrets, configs=config_spec().configs))
    assert Materials().missing(task) == ("secret key", "config conf")
    assert Materials(secrets=secret().secrets, configs=config().configs).missing(task) == ()


def test_content_never_shows():
    assert "hush" not in repr(files(secret_spec(name="key"), secret()))
