"""The contract of a dashboard's JSON: what the page is rendered from, and what polls get.

``payload.d.ts`` beside this module has the same types for the scripts; a test holds both to the same keys.
Numbers that people read come as text, in the language and with the decimals that they are shown with. Moments
are milliseconds since 1970, or ``YYYY-MM-DDTHH:MM:SSZ``.
"""

from typing import TypedDict

# Of the page and its data together: a page of another version is told to reload.
VERSION = 4

# [t, mean, minimum, maximum, readings, quality]: t is the start of the bucket in milliseconds since 1970,
# minimum and maximum are null unless a gauge, quality is 0 measured, 1 interpolated, 2 estimated.
Point = list[float | int | None]
# [index, mark]: the position of a part of a series, and the mark of its content.
Part = tuple[int, str]


class Window(TypedDict):
    """The window of the charts' time axis, in milliseconds since 1970."""

    de: int
    ate: int
    passo: int
    fuso: str
    marcas: list[int]


class Card(TypedDict):
    """A card: a figure with its words.

    ``exibe`` is the figure as shown, ``un`` its unit, ``linha`` what it is of, ``detalhe`` and ``falado`` a
    comparison as written and as spoken, ``qualidade`` what it rests on. Cards of the fleet have ``estado``
    and ``palavra`` instead. The rest is for programs: exact values as text, moments, and the measured share.
    """

    id: str
    titulo: str
    icone: str
    exibe: str
    un: str
    linha: str
    detalhe: str
    falado: str
    qualidade: str
    estado: str
    palavra: str
    valor: str | int | None
    instante: str | None
    ate: str | None
    anterior: str | None
    cobertura: str | None


class Series(TypedDict):
    """A line of a chart, with the figures of its legend.

    ``passo`` is the step and ``lacuna`` the largest gap that the line crosses, in milliseconds. ``pontos``
    has only the points of parts that the browser does not have yet; ``partes`` names all.
    """

    id: int
    nome: str
    gateway: str
    un: str
    cor: str
    passo: int
    lacuna: int
    ultimo: str
    media: str
    minimo: str
    maximo: str
    partes: list[Part]
    pontos: list[Point]


class LineChart(TypedDict):
    """The lines of one unit. ``zero`` says whether the axis begins at zero."""

    id: str
    un: str
    titulo: str
    zero: bool
    resumo: str
    vazio: str
    mostrados: str
    series: list[Series]


class Month(TypedDict):
    """A bar of a chart of months, beside the same month a year before."""

    mes: str
    valor: float | None
    exibe: str
    anterior: float | None
    exibe_anterior: str
    cobertura: float | None
    medido: str
    parcial: bool


class BarChart(TypedDict):
    """Thirteen months of one quantity. ``comparada``: a month a year before is known."""

    id: str
    un: str
    cor: str
    titulo: str
    resumo: str
    comparada: bool
    meses: list[Month]


class ReadingRow(TypedDict):
    """A reading as the meter sent it."""

    id: str
    dispositivo: str
    gateway: str
    grandeza: str
    cor: str
    valor: str
    un: str
    instante: str
    quando: str


class Readings(TypedDict):
    """The newest readings, or why there are none."""

    vazio: str
    linhas: list[ReadingRow]


class OfflineRow(TypedDict):
    """A gateway that is not heard."""

    id: int
    estado: str
    nome: str
    desde: str
    instante: str | None
    idade: str
    afeta: str


class Offline(TypedDict):
    """The gateways that are not heard.

    At most five are listed, and ``mais`` says how many more there are. ``total`` counts all that are offline.
    """

    vazio: str
    linhas: list[OfflineRow]
    mais: str
    total: int


class Dashboard(TypedDict):
    """A whole dashboard. ``falhas`` has a sentence for each block that could not be read."""

    v: int
    seq: int
    titulo: str
    janela: Window
    cartoes: list[Card]
    graficos: list[LineChart]
    barras: list[BarChart]
    leituras: Readings
    offline: Offline
    falhas: dict[str, str]
