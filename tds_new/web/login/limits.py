"""How often a password may be tried: by person and network, by person, by network.

Every try is counted as failed before its password is checked, in one transaction with the decision, so that
tries in parallel count each other. One that succeeds is taken back. A refused try is not counted and writes
nothing.

- A person from one network (one address of IPv4, a /64 of IPv6): refused after 5 failures, for 15 minutes.
- A network: refused after 50 failures within an hour, for an hour.
- A person who has failed from elsewhere: one try in 30 seconds over all networks. A network that itself, or a
  neighbour of which, has failed with this person before waits up to 3 times longer: whoever comes from a
  network of his own is ahead of an attacker, who has to find a network without failures for each slot.

The last two never refuse a person in a network from which that person has logged in within 30 days. A browser
with which a person has logged in counts as a known network of its own, wherever it is. All rules hold alike
for addresses that belong to nobody, so that no answer tells who exists.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils.crypto import salted_hmac
from django.utils.timezone import now

from tds_new.models import RedeConhecida, TentativaEntrada, User
from tds_new.models.user import canonical_email
from tds_new.web.client_ip import network_of, wide_network_of
from tds_new.web.login.devices import device_of

Tipo = TentativaEntrada.Tipo

PERSON_AND_NETWORK_FAILURES, PERSON_AND_NETWORK_TIME = 5, timedelta(minutes=15)
NETWORK_FAILURES, NETWORK_TIME = 50, timedelta(hours=1)
PERSON_INTERVAL, PERSON_TIME = timedelta(seconds=30), timedelta(hours=1)
WIDE_TIME, WIDE_FAILURES = timedelta(hours=24), 3  # of memory; further failures do not lengthen the wait
KNOWN_FOR = timedelta(days=30)
PRUNED_AT_ONCE = 20  # expired rows that go with each try that is counted: more than it adds

# Locks each counter, or makes it; one that has expired starts again.
LOCK = """
INSERT INTO tds_new_tentativa_entrada AS t (chave, tipo, usuario_id, rede, falhas, ultima_em, expira_em)
SELECT * FROM unnest(%(keys)s::uuid[], %(kinds)s::text[], %(people)s::bigint[], %(networks)s::text[],
    %(zeros)s::int[], %(moments)s::timestamptz[], %(ends)s::timestamptz[]) AS new (key, kind, person, network,
    failures, moment, until) ORDER BY key
ON CONFLICT (chave) DO UPDATE SET falhas = CASE WHEN t.expira_em <= %(now)s THEN 0 ELSE t.falhas END
RETURNING tipo, falhas, ultima_em, expira_em
"""
COUNT = """
UPDATE tds_new_tentativa_entrada SET falhas = falhas + 1, ultima_em = %s, expira_em = new.until
FROM unnest(%s::uuid[], %s::timestamptz[]) AS new (key, until) WHERE chave = new.key
"""
TAKE_BACK = """
WITH locked AS (
    SELECT chave FROM tds_new_tentativa_entrada WHERE chave = ANY(%s) ORDER BY chave FOR UPDATE)
UPDATE tds_new_tentativa_entrada t SET falhas = greatest(t.falhas - 1, 0) FROM locked
WHERE t.chave = locked.chave
"""
DROP_EMPTY = """
DELETE FROM tds_new_tentativa_entrada WHERE chave = ANY(%s) AND (falhas = 0 OR chave = %s)
"""
PRUNE = """
DELETE FROM tds_new_tentativa_entrada WHERE chave IN (
    SELECT chave FROM tds_new_tentativa_entrada WHERE expira_em <= %s
    ORDER BY expira_em LIMIT %s FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which rule refuses a try, and how many seconds it does so yet."""

    rule: TentativaEntrada.Tipo
    wait_s: int


class LoginRefusedError(Exception):
    """The password is not looked at: there were too many failures."""

    def __init__(self, refusal: Refusal, network: str) -> None:
        super().__init__(f"login refused by {refusal.rule} for {refusal.wait_s} s")
        self.refusal = refusal
        self.network = network


class Tally(NamedTuple):
    """A counter: how many failures, when the last one was, until when they count."""

    failures: int
    last: datetime
    until: datetime


Tallies = Mapping[TentativaEntrada.Tipo, Tally]


def decide(tallies: Tallies, known: bool, moment: datetime) -> Refusal | None:
    """Return why a password is not tried at ``moment``; None if it is.

    ``tallies`` holds the counters of the person, of the network and of both, without those at zero;
    ``known``: whether the person has logged in from this network lately.
    """
    ends: list[tuple[datetime, TentativaEntrada.Tipo]] = []
    both, network = tallies.get(Tipo.PESSOA_E_REDE), tallies.get(Tipo.REDE)
    if both is not None and both.failures >= PERSON_AND_NETWORK_FAILURES:
        ends.append((both.until, Tipo.PESSOA_E_REDE))
    if not known:
        if network is not None and network.failures >= NETWORK_FAILURES:
            ends.append((network.until, Tipo.REDE))
        ends.append((_slot(tallies, moment), Tipo.PESSOA))
    end, rule = max(ends, default=(moment, Tipo.PESSOA))
    return Refusal(rule, ceil((end - moment).total_seconds())) if end > moment else None


def _slot(tallies: Tallies, moment: datetime) -> datetime:
    """Return when a network from which the person has not logged in may try."""
    person, both, wide = (
        tallies.get(tipo) for tipo in (Tipo.PESSOA, Tipo.PESSOA_E_REDE, Tipo.PESSOA_E_VIZINHANCA)
    )
    if person is None or person.failures <= (both.failures if both else 0):
        return moment  # nobody else has failed
    return person.last + PERSON_INTERVAL * (1 + min(wide.failures if wide else 0, WIDE_FAILURES))


class Attempt:
    """A try of a password: who, from where, and the counters that it concerns."""

    def __init__(self, email: str, address: str, token: str = "") -> None:
        """Look up who ``email`` is; ``token`` is what the browser says that it is."""
        self.email = canonical_email(email)
        self.network, wide = network_of(address), wide_network_of(address)
        logged_in = RedeConhecida.objects.filter(
            usuario=OuterRef("pk"), rede=self.network, ultima_em__gt=now() - KNOWN_FOR
        )
        people = User.objects.filter(email=self.email).annotate(known=Exists(logged_in))
        found: tuple[int | None, bool] | None = people.values_list("pk", "known").first()
        self._person, self._known = found or (None, False)
        device = device_of(token, self._person)
        self._known = self._known or bool(device)
        self._keys = {
            Tipo.PESSOA_E_REDE: _key(Tipo.PESSOA_E_REDE, self.email, device or self.network),
            Tipo.PESSOA_E_VIZINHANCA: _key(Tipo.PESSOA_E_VIZINHANCA, self.email, wide),
            Tipo.PESSOA: _key(Tipo.PESSOA, self.email, ""),
            Tipo.REDE: _key(Tipo.REDE, "", self.network),
        }
        self._networks = {
            Tipo.PESSOA_E_REDE: self.network,
            Tipo.PESSOA_E_VIZINHANCA: wide,
            Tipo.PESSOA: "",
            Tipo.REDE: self.network,
        }

    def look(self) -> None:
        """Raise LoginRefusedError if the counters refuse the try; write nothing."""
        moment = now()
        rows = TentativaEntrada.objects.filter(pk__in=self._keys.values(), expira_em__gt=moment, falhas__gt=0)
        self._refuse(
            {Tipo(row.tipo): Tally(row.falhas, row.ultima_em, row.expira_em) for row in rows}, moment
        )

    def count(self) -> None:
        """Count the try as failed, or raise LoginRefusedError; both see every try before."""
        with transaction.atomic(), connection.cursor() as cursor:
            moment = now()
            cursor.execute(LOCK, self._rows(moment))
            tallies = {Tipo(tipo): Tally(*tally) for tipo, *tally in cursor.fetchall()}
            self._refuse({tipo: tally for tipo, tally in tallies.items() if tally.failures}, moment)
            ends = [_end(tipo, tallies[tipo], moment) for tipo in self._keys]
            cursor.execute(COUNT, [moment, list(self._keys.values()), ends])
            cursor.execute(PRUNE, [moment, PRUNED_AT_ONCE])

    def succeeded(self, person: User) -> None:
        """Take the failure back, and forget the person's others from here.

        The network is known as the person's from now on.
        """
        keys = list(self._keys.values())
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(TAKE_BACK, [keys])
            cursor.execute(DROP_EMPTY, [keys, self._keys[Tipo.PESSOA_E_REDE]])
            RedeConhecida.objects.update_or_create(
                usuario=person, rede=self.network, defaults={"ultima_em": now()}
            )

    def _refuse(self, tallies: Tallies, moment: datetime) -> None:
        if refusal := decide(tallies, self._known, moment):
            raise LoginRefusedError(refusal, self.network)

    def _rows(self, moment: datetime) -> dict[str, Any]:
        kinds, size = list(self._keys), len(self._keys)
        people = [None if tipo is Tipo.REDE else self._person for tipo in kinds]
        return {
            "keys": list(self._keys.values()),
            "kinds": kinds,
            "people": people,
            "networks": [self._networks[tipo] for tipo in kinds],
            "zeros": [0] * size,
            "moments": [moment] * size,
            "ends": [moment] * size,
            "now": moment,
        }


def _end(tipo: TentativaEntrada.Tipo, before: Tally, moment: datetime) -> datetime:
    """Return until when a counter counts that has just got another failure.

    A counter with a limit counts from its first failure on; at the limit it refuses for its whole time.
    """
    match tipo:
        case Tipo.PESSOA:
            return moment + PERSON_TIME
        case Tipo.PESSOA_E_VIZINHANCA:
            return moment + WIDE_TIME
        case Tipo.PESSOA_E_REDE:
            limit, time = PERSON_AND_NETWORK_FAILURES, PERSON_AND_NETWORK_TIME
        case Tipo.REDE:
            limit, time = NETWORK_FAILURES, NETWORK_TIME
    return before.until if 0 < before.failures < limit - 1 else moment + time


def _key(tipo: TentativaEntrada.Tipo, email: str, network: str) -> uuid.UUID:
    """Return the key of a counter.

    Without the server's own key nobody can tell what it counts.
    """
    digest = salted_hmac("tds_new.login", f"{tipo}|{network}|{email}", algorithm="sha256").digest()
    return uuid.UUID(bytes=digest[:16])


def allow(email: str, address: str = "") -> int:
    """Forget the failures of a person, of a network, or both; return how many rows.

    With both, the network becomes one of the person's: no attacker can keep them out from there. Raises
    User.DoesNotExist.
    """
    counters, network = TentativaEntrada.objects.all(), network_of(address) if address else ""
    person = User.objects.get_by_natural_key(email) if email else None
    if person and network:
        RedeConhecida.objects.update_or_create(usuario=person, rede=network, defaults={"ultima_em": now()})
    chosen = counters.none()
    if person:
        chosen |= counters.filter(usuario=person)
    if network:
        chosen |= counters.filter(pk=_key(Tipo.REDE, "", network))
    return chosen.delete()[0]
