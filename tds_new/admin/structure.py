"""Meters and their sub-meters, as people see and change them."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet
from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.models import Conta, Dispositivo
from tds_new.models.dispositivo import descendants

STRUCTURE = ("papel", "medidor_pai", "grandeza", "unidade", "unidade_consumo")
FOUND_AT_MOST = 30
DEEPEST = 4  # steps that admin.css sets a meter in


class Line(NamedTuple):
    """A meter in a list of its Conta's structure.

    ``depth`` is 0 for a main meter; ``note`` says what is particular about how it counts, or is empty.
    """

    device: Dispositivo
    depth: int
    note: str

    @property
    def indent(self) -> int:
        """The steps that it is set in; what is deeper is set in as far."""
        return min(self.depth, DEEPEST)


def main_meter_label(device: Dispositivo) -> str:
    """Return a meter's name with its gateway and quantity."""
    return f"{device} · {device.gateway.codigo} · {device.get_grandeza_display()}"


def _note(device: Dispositivo) -> str:
    """Return what is particular about how a meter counts."""
    if device.papel == Dispositivo.Papel.INFORMATIVO:
        return _("informativo: em nenhum total")
    if device.medidor_pai_id is not None and not device.atras:
        return _("o principal não conta para ele: soma-se ao total da conta")
    return _("injeção") if device.papel == Dispositivo.Papel.INJECAO else ""


def lines(conta: Conta, around: Dispositivo | None = None) -> list[Line]:
    """Return the meters of ``conta`` that have sub-meters, with these below.

    With ``around`` only those of that device's tree: its outermost main meter and all that is behind it.
    """
    devices = Dispositivo.objects.filter(conta=conta.pk).select_related("gateway")
    by_pk = {device.pk: device for device in devices.order_by("gateway__codigo", "codigo")}
    below: dict[int | None, list[Dispositivo]] = defaultdict(list)
    for device in by_pk.values():
        below[device.medidor_pai_id].append(device)

    def walk(device: Dispositivo, depth: int) -> Iterator[Line]:
        yield Line(device, depth, _note(device))
        for sub_meter in below[device.pk]:
            yield from walk(sub_meter, depth + 1)

    top = list(below[None])
    if around is not None:
        outermost = by_pk[around.pk]
        while outermost.medidor_pai_id is not None:
            outermost = by_pk[outermost.medidor_pai_id]
        top = [outermost]
    return [line for main in top if below[main.pk] for line in walk(main, 0)]


def counts_as(device: Dispositivo) -> str:
    """Return in which total a stored device counts now, in words."""
    main = device.medidor_pai
    if device.papel == Dispositivo.Papel.INFORMATIVO:
        return _("Não entra em nenhum total da conta.")
    if device.atras:
        text = _("O seu consumo está no de %(main)s e não se soma ao total da conta.")
        return text % {"main": main}
    into = (
        _("Soma-se ao total de injeção da conta.")
        if device.papel == Dispositivo.Papel.INJECAO
        else _("Soma-se ao total de consumo da conta.")
    )
    if main is None:
        return into
    return (
        _("%(main)s não conta para ele, porque %(why)s.")
        % {
            "main": main,
            "why": _why_not(device, main),
        }
        + f" {into}"
    )


def _why_not(device: Dispositivo, main: Dispositivo) -> str:
    if main.status == Dispositivo.Status.INATIVO:
        return _("está inativo")
    if main.grandeza != device.grandeza:
        return _("mede outra grandeza")
    return _("tem outro papel")


def change_in_words(device: Dispositivo) -> str:
    """Return what a change of a stored device's structure has changed."""
    sub_meters = Dispositivo.objects.filter(medidor_pai=device.pk).count()
    sentences = [counts_as(device)]
    if sub_meters:
        counted = Dispositivo.objects.filter(medidor_pai=device.pk, atras=True).count()
        text = _("Submedidores que estão no seu consumo e não se somam ao total: %(counted)d de %(all)d.")
        sentences.append(text % {"all": sub_meters, "counted": counted})
    sentences.append(
        _("Vale para todos os meses, também os passados, em até um minuto; nenhum consumo é recalculado.")
    )
    return " ".join(sentences)


def main_meters(request: HttpRequest, devices: QuerySet[Dispositivo]) -> JsonResponse:
    """Answer a search for the meters that a device may be behind.

    The device is ``?de=``; the answer is in the form of select2.
    """
    chosen = request.GET.get("de", "")
    term = request.GET.get("term", "").strip()
    found = devices.select_related("gateway").order_by("gateway__codigo", "codigo")
    if chosen.isascii() and chosen.isdecimal() and len(chosen) < 19:
        device = Dispositivo.objects.filter(pk=chosen).first()
        if device is not None:
            found = found.filter(conta=device.conta_id)
            found = found.exclude(pk__in=[device.pk, *descendants(device.conta_id, device.pk)])
    for word in term.split():
        found = found.filter(
            Q(codigo__icontains=word) | Q(nome__icontains=word) | Q(gateway__codigo__icontains=word)
        )
    results = [{"id": str(meter.pk), "text": main_meter_label(meter)} for meter in found[:FOUND_AT_MOST]]
    return JsonResponse({"results": results, "pagination": {"more": False}})


def tree_context(conta: Conta, around: Dispositivo | None = None) -> dict[str, Any]:
    """Return what the template of the list of meters needs."""
    return {"structure": lines(conta, around), "structure_of": around, "structure_title": TITLE}


TITLE = gettext_lazy("Medidores e submedidores")
