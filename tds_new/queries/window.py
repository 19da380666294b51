"""The stretch of time that a page shows, cut into buckets by the Conta's calendar."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tds_new.queries.local_calendar import DIA

MES = timedelta(days=31)  # the longest: as a step it means local months
MAIOR_PERIODO = timedelta(days=397)
MAX_PONTOS = 800

# Longest span of each bucket size. 26 h and 32 d leave room for days of 25 hours; no chart gets more than 800 points.
PASSOS = (
    (timedelta(hours=6), timedelta(minutes=1)),
    (timedelta(hours=26), timedelta(minutes=5)),
    (timedelta(days=8), timedelta(minutes=15)),
    (timedelta(days=32), timedelta(hours=1)),
    (MAX_PONTOS * DIA, DIA),
)

# Distances between axis marks, smallest first; from a day on they stand at local midnights.
MARCAS = tuple(timedelta(hours=h) for h in (1, 3, 6)) + tuple(
    timedelta(days=d) for d in (1, 2, 4, 7, 14, 31, 62)
)
MAX_MARCAS = 8


def passo_para(duracao: timedelta, pontos: int = MAX_PONTOS) -> timedelta:
    """The bucket size for a span of ``duracao`` on a chart that has room for so many ``pontos``."""
    return next((passo for limite, passo in PASSOS if duracao <= limite and duracao <= pontos * passo), MES)


@dataclass(frozen=True, slots=True)
class Janela:
    """``[inicio, fim)`` in aware datetimes, in buckets of ``passo``; a ``passo`` of a day means local days, ``MES`` local months."""

    inicio: datetime
    fim: datetime
    passo: timedelta
    zone: ZoneInfo

    @classmethod
    def ultimos(
        cls, duracao: timedelta, agora: datetime, zone: ZoneInfo, pontos: int = MAX_PONTOS
    ) -> "Janela":
        """The last ``duracao`` up to the end of the bucket that ``agora`` falls in."""
        passo = passo_para(duracao, pontos)
        local = agora.astimezone(zone)
        meia_noite = datetime.combine(local.date(), time(), zone)
        decorrido = agora.timestamp() - meia_noite.timestamp()
        grade = min(passo, DIA).total_seconds()
        fim = meia_noite.timestamp() + (decorrido // grade + 1) * grade
        return cls(
            datetime.fromtimestamp(fim - duracao.total_seconds(), zone),
            datetime.fromtimestamp(fim, zone),
            passo,
            zone,
        )

    @classmethod
    def entre(cls, de: date, ate: date, zone: ZoneInfo, pontos: int = MAX_PONTOS) -> "Janela":
        """From the first moment of ``de`` to the last of ``ate``, by the calendar of ``zone``."""
        inicio = datetime.combine(de, time(), zone)
        fim = datetime.combine(ate + DIA, time(), zone)
        return cls(
            inicio, fim, passo_para(timedelta(seconds=fim.timestamp() - inicio.timestamp()), pontos), zone
        )

    @property
    def diaria(self) -> bool:
        """Whether the buckets are local days."""
        return self.passo >= DIA

    def ultimo_dia(self) -> date:
        """The last local day that the window touches."""
        return (self.fim - timedelta(microseconds=1)).astimezone(self.zone).date()

    def marcas(self) -> list[datetime]:
        """Where the axis is labelled: local hours that divide the day, or local midnights; at most eight."""
        duracao = timedelta(seconds=self.fim.timestamp() - self.inicio.timestamp())
        distancia = next((m for m in MARCAS if duracao / m <= MAX_MARCAS), MARCAS[-1])
        primeiro = self.inicio.astimezone(self.zone).date()
        dias = range(0, (self.ultimo_dia() - primeiro).days + 1, max(distancia.days, 1))
        horas = range(0, 24, int(distancia.total_seconds() // 3600)) if distancia < DIA else range(1)
        candidatas = [
            datetime.combine(primeiro + dia * DIA, time(hora), self.zone) for dia in dias for hora in horas
        ]
        return [m for m in candidatas if self.inicio.timestamp() <= m.timestamp() < self.fim.timestamp()]
