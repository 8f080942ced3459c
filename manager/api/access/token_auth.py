"""Authentication at the shared dashboard: every request needs a token; only the pages themselves are for everybody.

There is no cookie, so other sites' pages cannot use one. A token is removed here: what is passed on to the leader or
to an engine has none.
"""

from __future__ import annotations

import msgspec

from common.aio.rate_limit import Rate, RateLimit
from common.clock import Clock
from common.http.dashboard_token import parse_token
from common.model.client import ROLES_BY_LABEL, Role
from manager.api.access.roles import TOKENLESS, Caller
from manager.api.access.sites import is_page
from manager.api.call import Call
from manager.api.errors import EngineError
from manager.store.store import Records

# Wrong tokens of one address, and of all: each is in the audit log, which strangers must not be able to fill. A right
# one always passes, so that nobody can lock others out.
WRONG = Rate(burst=20, per_second=0.5)
WRONG_IN_ALL = Rate(burst=200, per_second=0.2)
_ALL = "all"
_SCHEME = "bearer"
_KEY_PROTOCOL = "key."
_PROTOCOLS = "sec-websocket-protocol"


class TokenAuthenticator:
    """Finds out by its token who sends a request. `origins` are those at which a proxy serves these pages."""

    def __init__(self, store: Records, clock: Clock, origins: tuple[str, ...] = ()) -> None:
        self._store = store
        self._clock = clock
        self._origins = origins
        self._wrong = RateLimit(WRONG)
        self._wrong_in_all = RateLimit(WRONG_IN_ALL)

    def identify(self, call: Call) -> tuple[Call, float]:
        """Return the call with its caller, and when the token expires (Unix seconds; 0 without one).

        Raises:
            EngineError: 401, it has no token; 429, its address has shown too many wrong ones.

        """
        call, shown = _without_token(msgspec.structs.replace(call, origins=self._origins))
        if not shown and is_page(call):
            return _of(call, Caller("a page", call.caller.origin, Role.VIEWER, environment=False)), 0.0
        if not shown:
            raise EngineError(401, "this needs a dashboard token: 'swarm-manager dashboard token create' makes one")
        token = parse_token(shown)
        record = self._store.view.dashboard_tokens.get(token.id) if token is not None else None
        if token is None or record is None or not token.matches(record.digest):
            self._count_wrong(call.caller.address)
            return _of(call, Caller("nobody", call.caller.origin, unit=TOKENLESS)), 0.0
        caller = Caller(record.name, call.caller.origin, ROLES_BY_LABEL[record.role], serial=record.id)
        # An expired token is refused in the answer; only then does its connection end.
        return _of(call, caller), record.not_after if record.not_after > self._clock.now() else 0.0

    def _count_wrong(self, address: str) -> None:
        now = self._clock.now()
        if not (self._wrong.allow(address, now) and self._wrong_in_all.allow(_ALL, now)):
            raise EngineError(429, f"{address} has shown too many wrong tokens: try again in some seconds")


def _of(call: Call, caller: Caller) -> Call:
    return msgspec.structs.replace(call, caller=caller)


def _without_token(call: Call) -> tuple[Call, str]:
    """Return a request without its token, and the token. A page can put it only into a WebSocket's protocols."""
    headers = dict(call.headers)
    scheme, _, shown = headers.pop("authorization", "").partition(" ")
    shown = shown.strip() if scheme.lower() == _SCHEME else ""
    offered = [each.strip() for each in headers.pop(_PROTOCOLS, "").split(",")]
    kept = [each for each in offered if each and not each.startswith(_KEY_PROTOCOL)]
    keys = [each.removeprefix(_KEY_PROTOCOL) for each in offered if each.startswith(_KEY_PROTOCOL)]
    if kept:
        headers[_PROTOCOLS] = ", ".join(kept)
    repeated = {name: values for name, values in call.repeated.items() if name not in ("authorization", _PROTOCOLS)}
    return msgspec.structs.replace(call, headers=headers, repeated=repeated), shown or next(iter(keys), "")
