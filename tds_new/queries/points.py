"""What a chart is drawn of."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from tds_new.models import Dispositivo


class Qualidade(IntEnum):
    """What a point rests on; the numbers go to the browser."""

    MEDIDO = 0
    INTERPOLADO = 1
    ESTIMADO = 2


class Ponto(NamedTuple):
    """A bucket: mean (None: a gap), least, greatest and last value (gauges only), and how many readings are in it."""

    inicio: datetime
    media: float | None
    minimo: float | None
    maximo: float | None
    leituras: int
    qualidade: Qualidade = Qualidade.MEDIDO
    ultimo: float | None = None


@dataclass(slots=True)
class Serie:
    """A device's points, one for each ``passo`` with data; neighbours further apart than ``lacuna`` (seconds) are not joined by a line."""

    dispositivo: Dispositivo
    passo: timedelta
    lacuna: float = 0.0
    pontos: list[Ponto] = field(default_factory=list)
