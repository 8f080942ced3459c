"""The commands of `docker-hierarchy.txt`, the text that people learn Docker from, in its order and all of them.

Left, as the document has them; right, with its [PLACEHOLDERS] filled in. What makes no sense where a cluster answers
(a host cannot become a manager that is one, or join from afar) is refused with the command that does it here.
"""

from tests.docker_cli.row import Step, step

TAG = "username/repo:tag"  # as its compose file names the image

DOCUMENT: tuple[tuple[str, Step], ...] = (
    ("docker build -t [IMAGE TAG] [IMAGE DIRECTORY]", step(f"build -t {TAG} $folder", rf"Successfully tagged {TAG}")),
    ("docker images", step("images", r"^username/repo +tag ")),
    ("docker run -p 4000:80 ...", step(f"run -p 4000:80 {TAG}")),
    ("docker run -d ...", step(f"id=run -d --name detached -p 4000:80 {TAG}", r"^[0-9a-f]{64}$")),
    ("docker container ls", step("container ls", r"^[0-9a-f]{12} +username/repo:tag .*:4000->80/tcp.* detached$")),
    ("docker container stop [CONTAINER ID]", step("container stop $id", "^$id$")),
    ("docker service ls", step("service ls", r"^\w{12} +before +replicated +2/2 +username/repo:tag")),
    ("docker service ps [SERVICE ID]", step("service ps $service", r"before\.1 .* Running +Running", r"before\.2 ")),
    (
        "docker swarm init --advertise-addr [MACHINE IP]",
        step("!swarm init --advertise-addr $ip", "already part of a swarm", "swarm-manager join-token worker"),
    ),
    (
        "docker swarm join --token [SWARM TOKEN] [MANAGER IP]:[MANAGER PORT]",
        step("!swarm join --token $token $ip:2377", "already part of a swarm", "swarm-worker join --token TOKEN"),
    ),
    ("docker node ls", step("node ls", r"h1 +Ready +Active +Leader", r"h2 +Ready +Active", r"h3 +Ready +Active")),
    ("docker swarm leave # from a worker node", step("!swarm leave", "run 'swarm-worker leave' on that host")),
    (
        "docker swarm leave --force # from a manager node",
        step("!swarm leave --force", "run 'swarm-manager leave --force'"),
    ),
    (
        "docker stack deploy -c [DOCKER-COMPOSE FILE] [SERVICE]",
        step("stack deploy -c $compose shop", "Creating network shop_webnet", "Creating service shop_web"),
    ),
    ("docker stack rm [SERVICE]", step("stack rm shop", "Removing service shop_web", "Removing network shop_webnet")),
)

# Its compose file, tab and all.
COMPOSE = """\
version: "3"
services:
  # defines a service named "web"
  web:
    # Which image to pull / use
    image: username/repo:tag
    deploy:
\t  # Specifies the number of instances to run (5)
      replicas: 5
      resources:
        limits:
          # limits each instance to use, at most, 10% of the CPU (across all cores)
          cpus: "0.1"
          # limits each instance to use 50MB of RAM
          memory: 50M
      # immediately restart a container if it fails
      restart_policy:
        condition: on-failure
    # maps port 80 on the host to web\u2019s port 80
    ports:
      - "80:80"
    # instruct web\u2019s containers to share port 80 via a load-balanced network called "webnet"
    # internally, the containers themselves publish to web\u2019s port 80 at an ephemeral port
    networks:
      - webnet
# define the "webnet" network with the default settings: a load-balanced overlay network
networks:
  webnet:
"""
