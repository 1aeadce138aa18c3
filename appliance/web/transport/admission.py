"""Which connections a server keeps: all others share what operators leave.

A full server closes a connection that waits for its client, and is not an operator's, of the address
that holds the most of them. So the newest gets its turn, and a crowd makes room for others.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from appliance.auth.rate_limits import network_of
from appliance.web.transport.wsgi import Connection

OVERFLOW = 16
"""Connections over the limit that are kept until it is clear who makes the request; as many of operators."""

OPERATOR = "operator"
"""The role that is never refused."""

KNOWN_S = 3600.0
"""How long the address of an operator is remembered."""

LOG_EVERY_S = 60.0
_MOST_KNOWN = 1024

_log = logging.getLogger("appliance.web")


@dataclass(eq=False)
class Peer:
    """One connection. `abort` closes it.

    `is_waiting`: it has no complete request; `is_sending`: its client has not taken all of an answer.
    """

    address: str
    connection: Connection
    abort: Callable[[], object]
    network: str = ""
    number: int = 0
    is_waiting: bool = True
    is_sending: bool = False

    @property
    def is_operators(self) -> bool:
        """Whether its last known caller is an operator."""
        return self.connection.role == OPERATOR


class Admission:
    """Decides over the connections of one server, in its event loop."""

    def __init__(
        self,
        limit: int,
        per_address: int | None = None,
        exempt: Callable[[str], bool] | None = None,
    ) -> None:
        """`limit` connections at a time, of which each address has `per_address`, None for no such limit.

        `exempt` addresses, such as a proxy's, have only the limit of all.
        """
        self._limit, self._per_address = limit, per_address or limit
        self._exempt = exempt or (lambda address: False)
        self._peers: dict[Peer, None] = {}
        self._known: OrderedDict[str, float] = OrderedDict()
        self._arrived = 0
        self._refused: Counter[str] = Counter()
        self._log_at = 0.0

    def enter(self, peer: Peer) -> bool:
        """Take in a connection; False if it must be closed now. Each True needs a `leave`."""
        peer.network = network_of(peer.address)
        self._arrived += 1
        peer.number = self._arrived
        admitted = [each for each in self._peers if not each.connection.is_over_limit]
        own = [each for each in admitted if each.network == peer.network]
        is_at_share = len(own) >= self._per_address and not self._exempt(peer.address)
        is_one_too_many = is_at_share and not self._make_room(own)
        if len(admitted) >= self._limit and not is_at_share:
            is_one_too_many = not self._make_room(admitted)
        peer.connection.is_over_limit = is_one_too_many
        if is_one_too_many:
            self._note(peer)
            crowded = [each for each in self._crowded() if not each.is_operators]
            if len(crowded) >= OVERFLOW and not self._make_room(crowded):
                return False
        self._peers[peer] = None
        return True

    def leave(self, peer: Peer) -> None:
        """The connection is closed."""
        self._peers.pop(peer, None)

    def remember(self, peer: Peer) -> None:
        """Note that a request was answered: its caller is known now, and may be an operator."""
        if not peer.is_operators:
            return
        if not self._exempt(peer.address):
            self._known[peer.network] = monotonic()
            self._known.move_to_end(peer.network)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        # An operator always gets in, so the oldest of theirs over the limit ends: most likely a stream.
        operators = [each for each in self._crowded() if each.is_operators]
        if peer.connection.is_over_limit and len(operators) > OVERFLOW:
            self._close(min(operators, key=lambda each: each.number))

    def is_known(self, peer: Peer) -> bool:
        """Whether the caller has a role, or an operator came from its address within the last hour."""
        return bool(peer.connection.role) or self._is_known_network(peer.network)

    def _is_known_network(self, network: str) -> bool:
        return monotonic() - self._known.get(network, -KNOWN_S) < KNOWN_S

    def _crowded(self) -> list[Peer]:
        return [each for each in self._peers if each.connection.is_over_limit]

    def _make_room(self, among: list[Peer]) -> bool:
        """Close one that waits for its client and is not an operator's; False if there is none."""
        idle = [each for each in among if (each.is_waiting or each.is_sending) and not each.is_operators]
        if not idle:
            return False
        crowd = Counter(each.network for each in idle)
        self._close(
            max(
                idle,
                key=lambda each: (
                    not self._exempt(each.address),
                    not self._is_known_network(each.network),
                    crowd[each.network],
                    -each.number,
                ),
            )
        )
        return True

    def _close(self, peer: Peer) -> None:
        self._note(peer)
        self.leave(peer)
        peer.abort()

    def _note(self, peer: Peer) -> None:
        """One line a minute, whatever the number."""
        self._refused[peer.network] += 1
        if monotonic() >= self._log_at:
            self._log_at = monotonic() + LOG_EVERY_S
            network, most = self._refused.most_common(1)[0]
            _log.warning(
                "too many connections: %d refused or closed since the last such line, %d of them of %s",
                sum(self._refused.values()),
                most,
                network,
            )
            self._refused.clear()
