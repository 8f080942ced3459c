"""What a real engine (Docker 26.1, API 1.45) answers, whole, for one container, one volume and one image."""

from typing import Any

BOX = "323b203311f8bdd4117832b3118623aa90a8552f6aeb72abc581da044505e4e4"
EXEC = "e298fd9ba7642c228452a01e18defbf62a1a0d5099b7e98f3d5b5c73104d27bb"
IMAGE_ID = "sha256:46dda95f10379f94f33bc52c43a875f6e678654c5e9a3eeec0cd8ffc35dd8cd5"
ENDPOINT = {
    "IPAMConfig": {"IPv4Address": "172.17.0.2"},
    "Links": None,
    "Aliases": ["box"],
    "MacAddress": "02:42:ac:11:00:02",
    "NetworkID": "8ac29479e2eb6b6477fe5ed0561009a7e079fb2ab5718bee8479a83cff08d262",
    "EndpointID": "a70e66d2a72bf37e881e6dcadbfe3ac526f1d135c2469e04a07ff94a51287c57",
    "Gateway": "172.17.0.1",
    "IPAddress": "172.17.0.2",
    "IPPrefixLen": 16,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DriverOpts": None,
    "DNSNames": ["box", "323b203311f8"],
}
CONTAINER: dict[str, Any] = {
    "Id": BOX,
    "Names": ["/box"],
    "Image": "busybox:lab",
    "ImageID": IMAGE_ID,
    "Command": "sleep 100",
    "Created": 1796052518,
    "Ports": [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 53, "Type": "udp"},
    ],
    "SizeRootFs": 2026481,
    "Labels": {"x": "y"},
    "State": "running",
    "Status": "Up Less than a second",
    "HostConfig": {"NetworkMode": "bridge"},
    "NetworkSettings": {"Networks": {"bridge": ENDPOINT}},
    "Mounts": [
        {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True, "Propagation": ""},
        {
            "Type": "volume",
            "Name": "vol",
            "Source": "/var/lib/docker/volumes/vol/_data",
            "Destination": "/v",
            "Driver": "local",
            "Mode": "z",
            "RW": True,
            "Propagation": "",
        },
    ],
}
IMAGE: dict[str, Any] = {
    "Containers": -1,
    "Created": 1796052000,
    "Id": IMAGE_ID,
    "Labels": None,
    "ParentId": "",
    "RepoDigests": [],
    "RepoTags": ["busybox:lab"],
    "SharedSize": -1,
    "Size": 2026481,
}
VOLUME: dict[str, Any] = {
    "CreatedAt": "2026-11-30T15:28:38Z",
    "Driver": "local",
    "Labels": {"a": "b"},
    "Mountpoint": "/var/lib/docker/volumes/vol/_data",
    "Name": "vol",
    "Options": {"device": "tmpfs", "o": "size=1m", "type": "tmpfs"},
    "Scope": "local",
}
BUILD_RECORD: dict[str, Any] = {
    "ID": "ndlpt0hhvkqcdfkputsk4cq9c",
    "Parents": ["vpiqy0lc1rqzv3tomwkzpyblm"],
    "Type": "regular",
    "Description": "mount / from exec /bin/sh -c apk add git",
    "InUse": False,
    "Shared": False,
    "Size": 51,
    "CreatedAt": "2026-11-30T15:28:38.420323683Z",
    "LastUsedAt": "2026-11-30T15:29:38.420323683Z",
    "UsageCount": 26,
}
USAGE = {
    "LayersSize": 2973201,
    "Images": [{**IMAGE, "Containers": 1, "SharedSize": 2026481, "RepoDigests": None}],
    "Containers": [CONTAINER],
    "Volumes": [{**VOLUME, "UsageData": {"RefCount": 1, "Size": 10}}],
    "BuildCache": [BUILD_RECORD],
}
HISTORY = [
    {
        "Comment": "buildkit.dockerfile.v0",
        "Created": 1796052000,
        "CreatedBy": 'CMD ["sh"]',
        "Id": IMAGE_ID,
        "Size": 0,
        "Tags": ["busybox:lab"],
    },
    {
        "Comment": "",
        "Created": 1796051000,
        "CreatedBy": "COPY sh /bin/",
        "Id": "<missing>",
        "Size": 2026481,
        "Tags": None,
    },
]
IMAGE_INSPECT = {
    "Id": IMAGE_ID,
    "RepoTags": ["busybox:lab"],
    "RepoDigests": [],
    "Parent": "",
    "Comment": "",
    "Created": "2026-11-30T15:20:00Z",
    "Config": {"User": "", "Env": ["PATH=/bin:/"], "Cmd": ["sh"], "Volumes": None, "OnBuild": None, "Labels": None},
    "Architecture": "amd64",
    "Os": "linux",
    "Size": 2026481,
    "GraphDriver": {"Data": {"UpperDir": "/var/lib/docker/overlay2/x/diff"}, "Name": "overlay2"},
    "RootFS": {"Type": "layers", "Layers": [IMAGE_ID]},
    "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
}
CONTAINER_INSPECT: dict[str, Any] = {
    "Id": BOX,
    "Created": "2026-11-30T15:28:38.420323683Z",
    "Path": "sleep",
    "Args": ["100"],
    "State": {
        "Status": "running",
        "Running": True,
        "Pid": 205,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-11-30T15:28:39.049638122Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Image": IMAGE_ID,
    "Name": "/box",
    "RestartCount": 0,
    "ExecIDs": None,
    "HostConfig": {
        "Binds": ["vol:/v"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "NetworkMode": "bridge",
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "Dns": None,
        "Privileged": False,
        "MemorySwappiness": None,
    },
    "Mounts": CONTAINER["Mounts"],
    "Config": {
        "Hostname": "323b203311f8",
        "Env": ["A=b", "PATH=/bin:/"],
        "Cmd": ["sleep", "100"],
        "Image": "busybox:lab",
        "Entrypoint": None,
        "Labels": {"x": "y"},
    },
    "NetworkSettings": {"IPAddress": "172.17.0.2", "Networks": {"bridge": ENDPOINT}},
}
EVENTS = [
    {
        "status": "start",
        "id": BOX,
        "from": "busybox:lab",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": BOX, "Attributes": {"image": "busybox:lab", "name": "box", "x": "y"}},
        "scope": "local",
        "time": 1796052519,
        "timeNano": 1796052519057380227,
    },
    {
        "Type": "volume",
        "Action": "create",
        "Actor": {"ID": "vol", "Attributes": {"driver": "local"}},
        "scope": "local",
        "time": 1796052518,
        "timeNano": 1796052518417460915,
    },
]
EXEC_INSPECT = {
    "ID": EXEC,
    "Running": False,
    "ExitCode": None,
    "ProcessConfig": {"tty": False, "entrypoint": "true", "arguments": [], "privileged": False},
    "ContainerID": BOX,
    "Pid": 0,
}
# By "METHOD /first/…/last" with a star for what stands between.
ANSWERS: dict[str, tuple[int, Any]] = {
    "GET /containers/json": (200, [CONTAINER]),
    "GET /containers/*/json": (200, CONTAINER_INSPECT),
    "GET /containers/*/changes": (200, [{"Path": "/t", "Kind": 1}]),
    "GET /containers/*/top": (200, {"Titles": ["PID", "CMD"], "Processes": [["205", "sleep 100"]]}),
    "GET /containers/*/stats": (200, {"name": "/box", "id": BOX, "memory_stats": {"limit": 2**64 - 1}}),
    "POST /containers/create": (201, {"Id": BOX, "Warnings": []}),
    "POST /containers/*/exec": (201, {"Id": EXEC}),
    "POST /containers/*/wait": (200, {"StatusCode": 0}),
    "POST /containers/*/update": (200, {"Warnings": None}),
    "POST /containers/prune": (200, {"ContainersDeleted": [BOX], "SpaceReclaimed": 10}),
    "POST /commit": (201, {"Id": IMAGE_ID}),
    "GET /exec/*/json": (200, EXEC_INSPECT),
    "GET /images/json": (200, [IMAGE]),
    "GET /images/*/json": (200, IMAGE_INSPECT),
    "GET /images/*/history": (200, HISTORY),
    "POST /images/*/tag": (201, b""),
    "POST /images/create": (200, b'{"status":"Pulling"}\r\n{"status":"Done"}\r\n'),
    "DELETE /images/*": (200, [{"Untagged": "busybox:lab"}, {"Deleted": IMAGE_ID}]),
    "GET /volumes": (200, {"Volumes": [VOLUME], "Warnings": None}),
    "GET /volumes/*": (200, VOLUME),
    "POST /volumes/create": (201, VOLUME),
    "DELETE /volumes/*": (204, b""),
    "POST /volumes/prune": (200, {"VolumesDeleted": ["vol"], "SpaceReclaimed": 10}),
    "GET /system/df": (200, USAGE),
    "POST /build/prune": (200, {"CachesDeleted": None, "SpaceReclaimed": 0}),
}


def usual(method: str, path: str) -> tuple[int, Any] | None:
    """Return what an engine that has all of the above answers; None where that is not here."""
    exact = ANSWERS.get(f"{method} {path}")
    if exact is not None:
        return exact
    first, _, rest = path[1:].partition("/")
    last = rest.rpartition("/")[2] if "/" in rest else ""
    return ANSWERS.get(f"{method} /{first}/*/{last}") or (ANSWERS.get(f"{method} /{first}/*") if rest else None)
