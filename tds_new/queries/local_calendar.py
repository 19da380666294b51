"""Local calendars: days and months of a zone, and the same stretch of the month before."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DIA = timedelta(days=1)
BLOCO = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Periodo:
    """``[inicio, fim)``, aware datetimes in UTC, both at the edge of a block."""

    inicio: datetime
    fim: datetime

    @property
    def blocos(self) -> int:
        """How many blocks it holds; none where it ends before it begins."""
        return max(0, (self.fim - self.inicio) // BLOCO)


def meia_noite(dia: date, zone: ZoneInfo) -> datetime:
    """The moment at which ``dia`` begins by the calendar of ``zone``, in UTC."""
    return datetime.combine(dia, time(), zone).astimezone(UTC)


def inicio_do_bloco(instante: datetime) -> datetime:
    """The start of the 15-minute block that ``instante`` falls in, in UTC."""
    return datetime.fromtimestamp(instante.timestamp() // 900 * 900, UTC)


def meses_ate(mes: date, quantos: int) -> list[date]:
    """The first days of ``quantos`` months, the last of them ``mes``."""
    return [somar_meses(mes, -atras) for atras in reversed(range(quantos))]


def somar_meses(mes: date, quantos: int) -> date:
    """The first day of the month ``quantos`` after that of ``mes``; before it where negative."""
    indice = mes.year * 12 + mes.month - 1 + quantos
    return date(indice // 12, indice % 12 + 1, 1)


def mes_local(instante: datetime, zone: ZoneInfo) -> date:
    """The first day of the month that ``instante`` falls in by the calendar of ``zone``."""
    return instante.astimezone(zone).date().replace(day=1)


def periodo_do_mes(mes: date, zone: ZoneInfo) -> Periodo:
    """The whole month of ``mes`` by the calendar of ``zone``."""
    return Periodo(meia_noite(mes, zone), meia_noite(somar_meses(mes, 1), zone))


def periodo_dos_dias(de: date, ate: date, zone: ZoneInfo) -> Periodo:
    """From the first moment of ``de`` to the last of ``ate``, by the calendar of ``zone``."""
    return Periodo(meia_noite(de, zone), meia_noite(ate + DIA, zone))


def mesmo_trecho_do_mes_anterior(fim: datetime, zone: ZoneInfo) -> Periodo:
    """The month before that of ``fim`` (exclusive), up to the same day and time of day; where it is shorter, the whole of it.

    1 to 18 February until 12:45 gives 1 to 18 January until 12:45; 1 to 30 March gives 1 to 28 February.
    """
    ultimo = (fim - timedelta(microseconds=1)).astimezone(zone)
    anterior = somar_meses(ultimo.date(), -1)
    inteiro = periodo_do_mes(anterior, zone)
    local = fim.astimezone(zone)
    dias_passados = (local.date() - ultimo.date().replace(day=1)).days
    corte = datetime.combine(anterior + timedelta(days=dias_passados), local.time(), zone).astimezone(UTC)
    return Periodo(inteiro.inicio, min(corte, inteiro.fim))
