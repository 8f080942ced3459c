import pytest

from common.model.container import BindOptions, TmpfsOptions, VolumeOptions
from common.model.engine_options import Device, DeviceRequest, EngineOptions, ThrottleDevice, WeightDevice, options_of
from manager.cli.compose import ComposeError, ComposeFile, convert, load

BLKIO = """\
blkio_config:
  weight: 300
  weight_device: [{path: /dev/a, weight: 20}]
  device_write_bps: [{path: /dev/a, rate: 1mb}]
  device_read_iops: [{path: /dev/a, rate: 5}]
"""


def container(lines: str):
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    text = f"services:\n  web:\n    image: web:1\n{body}volumes:\n  data: {{}}\n"
    config = load([ComposeFile("f", text)], {}, lambda _: b"", "/project")
    assert not config.warnings
    spec = convert(config, "shop", lambda _: b"").services["web"].task_template.container_spec
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ("privileged: true", EngineOptions(privileged=True)),
        ("privileged: false", EngineOptions()),
        (
            "devices: ['/dev/a', '/dev/b:/dev/c', '/dev/d:r', 'acme.com/gpu=0']",
            EngineOptions(
                devices=(
                    Device(path_on_host="/dev/a", path_in_container="/dev/a"),
                    Device(path_on_host="/dev/b", path_in_container="/dev/c"),
                    Device(path_on_host="/dev/d", path_in_container="/dev/d", cgroup_permissions="r"),
                ),
                device_requests=(DeviceRequest(driver="cdi", device_ids=("acme.com/gpu=0",)),),
            ),
        ),
        (
            "devices: [{source: /dev/a, permissions: rw}]",
            EngineOptions(
                devices=(Device(path_on_host="/dev/a", path_in_container="/dev/a", cgroup_permissions="rw"),)
            ),
        ),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: all, driver: nvidia}]}}}",
            EngineOptions(device_requests=(DeviceRequest(driver="nvidia", count=-1, capabilities=(("gpu",),)),)),
        ),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], device_ids: ['0', 3]}]}}}",
            EngineOptions(device_requests=(DeviceRequest(device_ids=("0", "3"), capabilities=(("gpu",),)),)),
        ),
        ("gpus: all", EngineOptions(device_requests=(DeviceRequest(count=-1, capabilities=(("gpu",),)),))),
        (
            "gpus: [{count: 2, driver: nvidia, options: {x: 1}}]",
            EngineOptions(
                device_requests=(DeviceRequest(driver="nvidia", count=2, capabilities=(("gpu",),), options={"x": "1"}),)
            ),
        ),
        ("shm_size: 64M", EngineOptions(shm_size=64 << 20)),
        (
            "pid: host\nipc: private\nuts: host\nuserns_mode: host",
            EngineOptions(pid_mode="host", ipc_mode="private", uts_mode="host", userns_mode="host"),
        ),
        ("cgroup: host", EngineOptions(cgroupns_mode="host")),
        ("cgroupns_mode: private\ncgroup_parent: m", EngineOptions(cgroupns_mode="private", cgroup_parent="m")),
        ("cpuset: 0,2\ncpu_shares: 512", EngineOptions(cpuset_cpus="0,2", cpu_shares=512)),
        ("memswap_limit: -1\nmem_swappiness: 0", EngineOptions(memory_swap=-1, memory_swappiness=0)),
        ("memswap_limit: 1g\noom_kill_disable: true", EngineOptions(memory_swap=1 << 30, oom_kill_disable=True)),
        (
            BLKIO,
            EngineOptions(
                blkio_weight=300,
                blkio_weight_device=(WeightDevice(path="/dev/a", weight=20),),
                blkio_device_write_bps=(ThrottleDevice(path="/dev/a", rate=1 << 20),),
                blkio_device_read_iops=(ThrottleDevice(path="/dev/a", rate=5),),
            ),
        ),
        ("security_opt: [no-new-privileges]", EngineOptions(security_opt=("no-new-privileges",))),
        ("device_cgroup_rules: ['c 1:3 r']", EngineOptions(device_cgroup_rules=("c 1:3 r",))),
        ("storage_opt: {size: 1G}\nruntime: runsc", EngineOptions(storage_opt={"size": "1G"}, runtime="runsc")),
        (
            "domainname: x.org\nmac_address: 02:42:ac:11:65:43",
            EngineOptions(domainname="x.org", mac_address="02:42:ac:11:65:43"),
        ),
    ],
)
def test_each_key_is_an_option(lines: str, options: EngineOptions) -> None:
    assert options_of(container(lines)) == options


def test_options_of_mounts() -> None:
    mounts = container(
        "volumes:\n"
        "  - {type: tmpfs, target: /t, tmpfs: {size: 4096, mode: 0700}}\n"
        "  - {type: volume, source: data, target: /v, volume: {subpath: a/b, nocopy: true}}\n"
        "  - {type: bind, source: /b, target: /b, bind: {create_host_path: true, recursive: readonly}}"
    ).mounts
    assert mounts[0].tmpfs_options == TmpfsOptions(size_bytes=4096, mode=0o700)
    assert mounts[1].volume_options == VolumeOptions(
        no_copy=True, subpath="a/b", labels={"com.docker.stack.namespace": "shop"}
    )
    assert mounts[2].bind_options == BindOptions(create_mountpoint=True, read_only_force_recursive=True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("devices: [fuse]", '4:15: services.web.devices[0]: "fuse" is not a device'),
        ("pid: 'service:db'", 'services.web.pid: "service:db": containers of a stack may be on different hosts'),
        ("gpus: some", 'services.web.gpus: expected "all" or a whole number'),
        ("gpus: [{count: few}]", 'services.web.gpus[0].count: expected "all" or a whole number'),
        ("gpus: [{count: 1, device_ids: [a]}]", "count and device_ids cannot both be given"),
        ("shm_size: much", "services.web.shm_size: 'much' is not a valid size; expected a size such as \"64M\""),
        ("deploy: {resources: {reservations: {devices: [{count: 1}]}}}", 'the key "capabilities" is missing'),
        ("blkio_config: {device_read_bps: [{path: /dev/a, rate: fast}]}", "rate: expected a size"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(line: str, words: str) -> None:
    with pytest.raises(ComposeError) as caught:
        container(line)
    assert words in str(caught.value)
