"""The line charts, one for each unit."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.queries import points
from tds_new.queries.window import Window
from tds_new.web.dashboard import payload
from tds_new.web.dashboard.parts import in_parts
from tds_new.web.dashboard.read import Facts
from tds_new.web.dashboard.scope import Scope, chart_unit, is_gauge
from tds_new.web.dashboard.words import colour, milliseconds, quantity_word, window_title

# Axes that do not start at zero: a temperature has no natural zero.
WITHOUT_ZERO = {"°C", "°F"}
POWER = {"ENERGIA", "POTENCIA", "DEMANDA"}


def line_charts(facts: Facts, has: frozenset[str]) -> list[payload.LineChart]:
    """Return the line charts, without the parts that the browser has (their marks)."""
    return [_chart(facts.scope, unit, group, has) for unit, group in facts.charts.items()]


def chart_window(window: Window) -> payload.TimeWindow:
    """Return the window of the charts' time axis."""
    return {
        "start": milliseconds(window.start),
        "end": milliseconds(window.end),
        "step": int(window.step.total_seconds() * 1000),
        "zone": window.zone.key,
        "ticks": [milliseconds(mark) for mark in window.marks()],
    }


def _chart(scope: Scope, unit: str, group: Sequence[points.Series], has: frozenset[str]) -> payload.LineChart:
    known = list(_known(group))
    several = len(group) > 1
    return {
        "id": unit,
        "unit": unit,
        "title": _title(unit, group),
        "from_zero": unit not in WITHOUT_ZERO,
        "summary": _summary(scope, unit, known),
        "empty": "" if known else _why_empty(scope, group),
        "devices_shown": _limited(scope, unit, len(group)),
        "series": [
            _series(scope, line, f"s{n}" if several else f"q-{colour(line.device.grandeza)}", has)
            for n, line in enumerate(group, 1)
        ],
    }


def _series(scope: Scope, line: points.Series, colour_name: str, has: frozenset[str]) -> payload.Series:
    unit = chart_unit(line.device)
    step_ms = int(line.step.total_seconds() * 1000)
    parts = in_parts(line.device.pk, step_ms, [_point(p) for p in line.points])
    legend = _legend(line.points)
    return {
        "id": line.device.pk,
        "name": scope.names[line.device.pk],
        "gateway": line.device.gateway.codigo,
        "unit": unit,
        "colour": colour_name,
        "step": step_ms,
        "gap": int(line.max_gap_s * 1000),
        "last": formats.value(legend.last, unit),
        "mean": formats.value(legend.mean, unit),
        "minimum": formats.value(legend.minimum, unit),
        "maximum": formats.value(legend.maximum, unit),
        "parts": [(part.index, part.mark) for part in parts],
        "points": [point for part in parts if part.mark not in has for point in part.points],
    }


class _Legend(NamedTuple):
    """The figures of a line in the legend; None if it has no value."""

    last: float | None = None
    mean: float | None = None
    minimum: float | None = None
    maximum: float | None = None


def _legend(line: Iterable[points.Point]) -> _Legend:
    """Return the figures of a line; those of gauges look into the buckets."""
    known = [(p.mean, p.minimum, p.maximum) for p in line if p.mean is not None]
    if not known:
        return _Legend()
    means = [mean for mean, _minimum, _maximum in known]
    return _Legend(
        means[-1],
        sum(means) / len(means),
        min(mean if minimum is None else minimum for mean, minimum, _maximum in known),
        max(mean if maximum is None else maximum for mean, _minimum, maximum in known),
    )


def _point(point: points.Point) -> payload.Point:
    return [
        milliseconds(point.start),
        _short(point.mean),
        _short(point.minimum),
        _short(point.maximum),
        point.readings,
        int(point.quality),
    ]


def _short(value: float | None) -> float | None:
    """Return five significant digits: more than a screen shows, less to send."""
    return None if value is None else float(f"{value:.5g}")


# --- words ---


class _Known(NamedTuple):
    """A point with a value, its greatest value, and whose it is."""

    value: float
    point: points.Point
    line: points.Series


def _known(group: Iterable[points.Series]) -> Iterator[_Known]:
    for line in group:
        for point in line.points:
            if point.mean is not None:
                yield _Known(point.mean if point.maximum is None else point.maximum, point, line)


def _title(unit: str, group: Sequence[points.Series]) -> str:
    return f"{_measured(group)} ({unit})"


def _measured(group: Sequence[points.Series]) -> str:
    """Return the word for what the lines of a chart have in common."""
    quantities = {line.device.grandeza for line in group}
    gauges = all(is_gauge(line.device) for line in group)
    if len(quantities) > 1:
        if gauges:
            return _("Leituras")
        return _("Potência") if quantities <= POWER else _("Taxa média")
    (only,) = quantities
    if gauges:
        return quantity_word(only)
    names = {"ENERGIA": _("Potência média"), "AGUA": _("Vazão média de água"), "GAS": _("Vazão média de gás")}
    return names.get(only, _("Taxa média"))


def _limited(scope: Scope, unit: str, shown: int) -> str:
    """Say how many devices of a unit are drawn, where that is not all of them."""
    total = sum(chart_unit(d) == unit for d in scope.devices)
    if total <= shown:
        return ""
    text = _("Mostrando %(n)d de %(total)d dispositivos; escolha outros em Filtros.")
    return text % {"n": shown, "total": total}


def _summary(scope: Scope, unit: str, known: Sequence[_Known]) -> str:
    """Return the caption: the greatest value, and what the strokes of the lines mean."""
    if not known:
        return ""
    greatest = max(known, key=lambda item: item.value or 0.0)
    sentences = [
        _("Maior valor: %(maximo)s em %(quando)s, %(dispositivo)s.")
        % {
            "maximo": formats.with_unit(greatest.value, unit),
            "quando": formats.date_time(greatest.point.start, scope.conta.zone),
            "dispositivo": scope.names[greatest.line.device.pk],
        }
    ]
    if any(item.point.quality for item in known):
        sentences.append(_("Tracejado: interpolado ou estimado."))
    if any(item.point.start + item.line.step > scope.now for item in known):
        sentences.append(_("Pontilhado: o intervalo que ainda não terminou."))
    return " ".join(sentences)


def _why_empty(scope: Scope, group: Iterable[points.Series]) -> str:
    """Say why a chart has no values in the window."""
    seen = [line.device.last_seen for line in group if line.device.last_seen]
    window = scope.filter.window
    if not seen:
        return _("Estes dispositivos ainda não enviaram nenhuma leitura.")
    if window.start <= max(seen) < window.end:
        return _(
            "As leituras chegaram; a média aparece assim que houver um intervalo entre duas delas calculado."
        )
    nothing = _("Nenhuma leitura de %(periodo)s.") % {"periodo": window_title(scope.filter)}
    last = _("A última foi em %(quando)s.") % {"quando": formats.date_time(max(seen), scope.conta.zone)}
    return f"{nothing} {last}"
