"""A budget for each gateway, so that a flood costs the other gateways nothing.

A limit of messages alone is none: one message may cost as much as a thousand others. So what a message costs
is counted too, and in such a way that a gateway with a backlog is not hurt. Its readings that are stored pay
for the bytes, the refusals and the processor time that readings need; only what exceeds that is charged.
"""

import time
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import msgspec

BURST_SECONDS = 60  # the allowance that a silent gateway saves up
READINGS_BURST_SECONDS = 300  # that of readings: weeks of them may come at once, but not every minute
MAX_ACCOUNTS = 50_000
UNKNOWN = 0  # the account of all messages that are of no registered gateway

# What is not charged: so much for each message, and for each of its readings that are stored; and one refusal
# for each of these. A usual reading has 60 to 120 bytes, and takes 2 to 5 microseconds.
FREE_BYTES, FREE_BYTES_PER_READING = 1024, 512
FREE_SECONDS, FREE_SECONDS_PER_READING = 100e-6, 50e-6
FOR_MESSAGES = 0.75  # the share of the bytes that copies of a payload for its bad readings leave
# Processor time, in seconds, for a message that the database refuses: its batch is halved until it is alone.
FAULT_SECONDS = 0.05


class Limits(NamedTuple):
    """What one gateway may use in each second; 0 sets no limit.

    ``seconds`` are those of processor time. Bytes, refusals and processor time are those beyond what is free.
    """

    messages: float = 0
    readings: float = 0
    bytes: float = 0
    refusals: float = 0
    seconds: float = 0


NO_LIMITS = Limits()


class Account(msgspec.Struct, gc=False):
    """What a gateway may use yet, as of the time ``since``.

    Below 0 it has used more already.
    """

    since: float
    messages: float
    readings: float
    bytes: float
    refusals: float
    seconds: float

    def charge(self, readings: int, size: int, refusals: int, seconds: float) -> None:
        """Charge a message.

        These are its ``readings`` that are stored, its ``size`` in bytes, its refused readings, and
        processor time in ``seconds``.
        """
        self.readings -= readings
        self.bytes -= max(0, size - FREE_BYTES - FREE_BYTES_PER_READING * readings)
        self.refusals -= max(0, refusals - readings)
        self.seconds -= max(0.0, seconds - FREE_SECONDS - FREE_SECONDS_PER_READING * readings)


class GatewayBudget:
    """Token buckets for each gateway.

    They are of messages, readings, bytes, refusals and processor time. A gateway may use its :class:`Limits`,
    and after a silence a minute's worth at once, and five minutes' worth of readings. A message is refused
    before anything is made of it if one of the buckets is empty. What it costs is known only afterwards, so
    one message may use more than is left; the next ones wait for it.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.limits = limits
        rates = [limit or inf for limit in limits]
        self._rates = Limits(*rates)
        self._bursts = Limits(*[rate * BURST_SECONDS for rate in rates])._replace(
            readings=self._rates.readings * READINGS_BURST_SECONDS
        )
        self._accounts: dict[int, Account] = {}

    def account(self, gateway_id: int, now: float) -> Account:
        """Return a gateway's account; ``now`` is the clock's time."""
        account = self._accounts.get(gateway_id)
        if account is None:
            if len(self._accounts) >= MAX_ACCOUNTS:
                self._accounts.clear()  # everybody starts again with full buckets: memory stays bounded
            account = self._accounts[gateway_id] = Account(now, *self._bursts)
        elif now > account.since:
            self._refill(account, now)
        return account

    def take(self, account: Account, size: int) -> str:
        """Take a message of ``size`` bytes from an account.

        Return which limit is reached in words, and take nothing then; empty if there is none.
        """
        if (
            account.messages >= 1
            and account.readings > 0
            and account.refusals > 0
            and account.seconds > 0
            and account.bytes >= min(size - FREE_BYTES, self._bursts.bytes)
        ):
            account.messages -= 1
            return ""
        return self.reached(account)

    def take_copies(self, account: Account, size: int) -> bool:
        """Take ``size`` bytes of further copies of a payload, if most are left then.

        Copies are for convenience: nothing is refused because of them.
        """
        if account.bytes - size < self._bursts.bytes * FOR_MESSAGES:
            return False
        account.bytes -= size
        return True

    def reached(self, account: Account) -> str:
        """Return which limit an account has reached, in words."""
        limits = self.limits
        if account.messages < 1:
            return f"more than {limits.messages:g} messages/s of this gateway"
        if account.readings <= 0:
            return f"more than {limits.readings:g} readings/s of this gateway"
        if account.refusals <= 0:
            return f"more than {limits.refusals:g} bad readings or messages/s of this gateway"
        if account.seconds <= 0:
            return f"more than {1000 * limits.seconds:g} ms/s of processor time for this gateway"
        return f"more than {limits.bytes:g} bytes/s of this gateway besides those of its readings"

    def _refill(self, account: Account, now: float) -> None:
        passed, rates, bursts = now - account.since, self._rates, self._bursts
        account.since = now
        account.messages = min(bursts.messages, account.messages + passed * rates.messages)
        account.readings = min(bursts.readings, account.readings + passed * rates.readings)
        account.bytes = min(bursts.bytes, account.bytes + passed * rates.bytes)
        account.refusals = min(bursts.refusals, account.refusals + passed * rates.refusals)
        account.seconds = min(bursts.seconds, account.seconds + passed * rates.seconds)
