"""Join tokens as the cluster keeps them: made, compared in constant time, rotated."""

from __future__ import annotations

import random
from typing import Literal, get_args

import msgspec

from common.errors import FailedPrecondition, Unauthenticated
from common.ids import new_id
from common.model.cluster import JoinTokens
from common.wire.token import JoinToken, parse_token

Role = Literal["worker", "manager"]
ROLES: tuple[Role, ...] = get_args(Role)


def new_token(digest: str, rng: random.Random) -> str:
    """Make a token for the root with this digest; the secret is 128 random bits of `rng`."""
    return str(JoinToken(digest, new_id(rng)))


def new_tokens(digest: str, rng: random.Random) -> JoinTokens:
    return JoinTokens(worker=new_token(digest, rng), manager=new_token(digest, rng))


def rotate(tokens: JoinTokens, role: Role, digest: str, rng: random.Random) -> JoinTokens:
    """Replace one token; the old one is worth nothing from the commit of this on."""
    fresh = new_token(digest, rng)
    return msgspec.structs.replace(tokens, **{role: fresh})


def check_token(text: str, tokens: JoinTokens, role: Role) -> None:
    """Decide whether a token entitles to join in a role.

    Raises:
        InvalidArgument: it is not a token.
        FailedPrecondition: it is the other role's.
        Unauthenticated: it is of another cluster, rotated, or mistyped.

    """
    if (entitled := _role_of(text, tokens, role)) != role:
        raise FailedPrecondition(
            f"this is the token for {entitled}s: 'swarm-{role} join' needs the one "
            f"that 'swarm-manager join-token {role}' prints"
        )


def _role_of(text: str, tokens: JoinTokens, wanted: Role) -> Role:
    """Return what a token entitles to be. Both comparisons are always made, in constant time."""
    given = parse_token(text)
    worker = given.same(parse_token(tokens.worker))
    manager = given.same(parse_token(tokens.manager))
    if worker:
        return "worker"
    if manager:
        return "manager"
    if given.digest != parse_token(tokens.worker).digest:
        raise Unauthenticated("the join token belongs to another cluster")
    raise Unauthenticated(
        "the join token is not valid: it was rotated or mistyped; "
        f"'swarm-manager join-token {wanted}' prints the current one"
    )
