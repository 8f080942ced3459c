"""/swarm: the cluster and its tokens; joining and leaving, where this manager answers otherwise than an engine."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.clock import HOUR
from common.errors import InvalidArgument, OutOfSequence
from common.model import Cluster, RootKey
from common.model.authority import RotationPhase
from common.model.client import Role
from common.model.cluster import ClusterSpec, JoinTokens
from common.model.naming import Model
from common.spec import extensions
from manager.api.call import Answer, Call, Reply
from manager.api.context import Context
from manager.api.errors import EngineError, Unimplemented, invalid
from manager.api.http.body import convert, normal, parse
from manager.api.render import head, render
from manager.api.router import Place, Route
from manager.ca import tokens
from manager.ca.authority import create_root
from manager.ca.keyring import new_unlock_key
from manager.ca.rotation import begin, has_newest, root_of, trusts_newest
from manager.domain.managers import managers
from manager.store.transaction import Transaction

# What a body sets although it is zero.
_EVEN_IF_ZERO = frozenset({"AutoLockManagers", "Labels", "TaskHistoryRetentionLimit"})
_ALREADY = 'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
_LAST_MANAGER = (
    "You are attempting to leave the swarm on a node that is participating as a manager. "
    "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
    "To take a host out of the cluster, run 'swarm-worker leave' on that host."
)

_ONE_OF_MANAGERS = (
    "You are attempting to leave the swarm on a node that is participating as a manager. "
    "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. "
    "Use `--force` to suppress this message."
)
_ENDS_ALL = (
    "This is the cluster's only manager. Without it the cluster, its services, secrets and "
    "certificate authority are lost for good, so '--force' is not enough. If that is what you "
    "want, run 'swarm-manager leave --force'. To take a host out "
    "of the cluster, run 'swarm-worker leave' on that host."
)


async def inspect_swarm(context: Context, call: Call) -> Reply:
    """Show the cluster. The tokens, with which any host joins it, are for administrators."""
    view = context.store.view
    return Answer(value=swarm_view(view.cluster, root_of(view), tokens=call.caller.is_admin))


async def init_swarm(_context: Context, _: Call) -> Reply:
    """Refuse: this manager has a cluster already. What people do next is named."""
    hint = "The cluster is ready: 'swarm-manager join-token worker' shows the command that adds a host to it."
    raise EngineError(503, f"{_ALREADY} {hint}")


async def join_swarm(_context: Context, call: Call) -> Reply:
    """Refuse: this manager has a cluster already. Who wants to add a host is told the command for it."""
    call.require_json()
    hint = "To add a host to this cluster, run 'swarm-worker join --token TOKEN HOST:PORT' on that host."
    raise EngineError(503, f"{_ALREADY} {hint}")


async def leave_swarm(context: Context, call: Call) -> Reply:
    """Cease to be one of the managers, or end the cluster, for good.

    For the latter `force` alone, as a test's last line says it to any engine, is not enough.
    """
    if not call.flag("force"):
        raise EngineError(503, _LAST_MANAGER if len(managers(context.store.view)) == 1 else _ONE_OF_MANAGERS)
    if await context.quorum.leave():
        return Answer()
    if call.query.get("cluster", "") != context.store.view.cluster.id:
        raise EngineError(409, _ENDS_ALL)
    await context.leave()
    return Answer()


async def update_swarm(context: Context, call: Call) -> Reply:
    index = call.index("swarm")
    call.require_json()
    changes = normal(ClusterSpec, parse(call.body))
    rotated = [role for role in tokens.ROLES if call.flag(f"rotate{role.capitalize()}Token")]
    rotates_lock = call.flag("rotateManagerUnlockKey")

    def update(tx: Transaction) -> None:
        cluster = tx.cluster
        if not cluster.is_current(index):
            raise OutOfSequence
        spec = merge_spec(cluster.spec, changes)
        check_spec(spec)
        if spec.ca_config.force_rotate != cluster.spec.ca_config.force_rotate:
            tx.put(begin(tx, create_root(cluster.id, context.clock.now())))
        join_tokens = cluster.join_tokens
        for role in rotated:
            join_tokens = tokens.rotate(join_tokens, role, context.authority.digest, context.rng)
        key = next_unlock_key(cluster.unlock_key, locks=spec.encryption_config.auto_lock_managers, rotates=rotates_lock)
        tx.put(msgspec.structs.replace(cluster, spec=spec, join_tokens=join_tokens, unlock_key=key))

    await context.store.update(update)
    context.keys.relock(context.store.view.cluster)
    return Answer()


def next_unlock_key(present: str, *, locks: bool, rotates: bool) -> str:
    """Return the unlock key that the cluster is to have: none without autolock, another when it is rotated."""
    if not locks:
        return ""
    return new_unlock_key() if rotates or not present else present


def merge_spec(spec: ClusterSpec, changes: Mapping[str, Any]) -> ClusterSpec:
    """Return `spec` with what the body sets; as for the engine, what it leaves out or sets to zero stays as it is."""
    return convert(ClusterSpec, _overlaid(msgspec.to_builtins(spec), changes))


def _overlaid(present: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(present)
    for key, value in changes.items():
        if key != "Labels" and isinstance(value, dict) and isinstance(result.get(key, {}), dict):
            result[key] = _overlaid(result.get(key, {}), value)
        elif value or key in _EVEN_IF_ZERO:
            result[key] = value
    return result


def check_spec(new: ClusterSpec) -> None:
    """Refuse what the cluster cannot be set to.

    Raises:
        EngineError, InvalidArgument: 400; the message names the field.
        Unimplemented: 501.

    """
    extensions.read_cluster(new.labels)
    if new.ca_config.signing_ca_cert or new.ca_config.signing_ca_key:
        raise Unimplemented("CAConfig.SigningCACert: a root of your own is not supported; without it a new one is made")
    if new.ca_config.external_cas:
        raise Unimplemented("CAConfig.ExternalCAs: external authorities are not supported")
    if new.ca_config.node_cert_expiry < HOUR:
        raise InvalidArgument("minimum certificate expiry time is: 1h0m0s")
    if new.orchestration.task_history_retention_limit < 0:
        raise invalid("Orchestration.TaskHistoryRetentionLimit: expected 0 or more")
    if new.dispatcher.heartbeat_period < 0:
        raise InvalidArgument("heartbeat time period cannot be a negative duration")


async def unlock_key(context: Context, _: Call) -> Reply:
    """Show the key that managers ask for when they start; empty without autolock."""
    return Answer(value={"UnlockKey": context.store.view.cluster.unlock_key})


class UnlockRequest(Model):
    """The body of `POST /swarm/unlock`."""

    unlock_key: str = ""


async def unlock(context: Context, call: Call) -> Reply:
    """Unlock this manager, and answer when it serves the cluster."""
    if not context.keys.locked:
        raise EngineError(409, "swarm is not locked")
    key = call.decode(UnlockRequest).unlock_key
    try:
        await context.keys.unlock(key)
    except InvalidArgument as error:
        raise invalid(error.message) from error
    return Answer()


# --- as the engine's API shows it ---


@lru_cache(maxsize=4)
def _tls_fields(root_certificate: str) -> tuple[str, str]:
    certificate = x509.load_pem_x509_certificate(root_certificate.encode())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    subject = certificate.subject.public_bytes()
    return base64.b64encode(subject).decode(), base64.b64encode(key).decode()


def tls_info(cluster: Cluster, root: RootKey | None, step: int | None = None) -> dict[str, str]:
    """Return which root is trusted, and which signs; empty if there is none.

    Of a member whose certificate is of `step`; else those that all members have, or are to have.
    """
    present = cluster.root_certificate
    if not present:
        return {}
    trusted = issuer = root.newest.decode() if root is not None else present
    if root is not None and step is not None:
        trusted = trusted if trusts_newest(root, step) else present
        issuer = issuer if has_newest(root, step) else present
    subject, key = _tls_fields(issuer)
    return {"TrustRoot": trusted, "CertIssuerSubject": subject, "CertIssuerPublicKey": key}


def cluster_view(cluster: Cluster, root: RootKey | None) -> dict[str, Any]:
    """Render the cluster without its join tokens, as it stands in `/info`."""
    result = head(cluster)
    result["Spec"] = cluster_spec_view(cluster.spec)
    result["TLSInfo"] = tls_info(cluster, root)
    result["RootRotationInProgress"] = root is not None and root.phase is not RotationPhase.NONE
    result["DefaultAddrPool"] = list(cluster.default_addr_pool)
    result["SubnetSize"] = cluster.subnet_size
    result["DataPathPort"] = cluster.data_path_port
    return result


def swarm_view(cluster: Cluster, root: RootKey | None, *, tokens: bool) -> dict[str, Any]:
    """Render the cluster as `GET /swarm` does: with its join tokens, or with empty ones."""
    shown = cluster.join_tokens if tokens else JoinTokens()
    return cluster_view(cluster, root) | {"JoinTokens": {"Worker": shown.worker, "Manager": shown.manager}}


def cluster_spec_view(spec: ClusterSpec) -> dict[str, Any]:
    """Render the cluster's spec; the signing key of the authority is left out."""
    result = render(spec)
    result.setdefault("Labels", {})
    result.setdefault("TaskDefaults", {})
    result.get("CAConfig", {}).pop("SigningCAKey", None)
    return result


ROUTES = (
    Route("GET", "/swarm", inspect_swarm, needs=Role.VIEWER, place=Place.STORE),
    Route("POST", "/swarm/init", init_swarm, needs=Role.ADMIN),
    Route("POST", "/swarm/join", join_swarm, needs=Role.ADMIN),
    Route("POST", "/swarm/leave", leave_swarm, needs=Role.ADMIN, place=Place.HERE),
    Route("POST", "/swarm/update", update_swarm, needs=Role.ADMIN),
    Route("GET", "/swarm/unlockkey", unlock_key, needs=Role.ADMIN),
    Route("POST", "/swarm/unlock", unlock, needs=Role.ADMIN),
)
