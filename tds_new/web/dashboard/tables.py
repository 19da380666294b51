"""The tables: the newest readings, and the gateways that are not heard."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.queries import fleet
from tds_new.queries.fleet import GatewayState, SilentGateway
from tds_new.queries.latest import Reading
from tds_new.web.dashboard import payload
from tds_new.web.dashboard.read import Block, Facts
from tds_new.web.dashboard.scope import Scope, is_gauge
from tds_new.web.dashboard.words import colour, iso, milliseconds, quantity_word, window_title

MAX_OFFLINE = 5


def readings_table(facts: Facts) -> payload.Readings:
    """Return the newest readings within the window, as the meters sent them."""
    rows = [_reading(facts.scope, reading) for reading in facts.readings]
    explained = rows or Block.READINGS in facts.failed
    return {"empty": "" if explained else _no_readings(facts.scope), "rows": rows}


def _reading(scope: Scope, reading: Reading) -> payload.Reading:
    device = reading.device
    gauge = is_gauge(device)
    return {
        "id": f"{device.pk}-{milliseconds(reading.time)}",
        "device": scope.names[device.pk],
        "gateway": device.gateway.codigo,
        "quantity": quantity_word(device.grandeza),
        "colour": colour(device.grandeza),
        "value": formats.value(reading.valor, reading.unidade) if gauge else formats.register(reading.valor),
        "unit": reading.unidade,
        "instant": iso(reading.time),
        "when": formats.date_time(reading.time, scope.conta.zone),
    }


def _no_readings(scope: Scope) -> str:
    """Say why there are no readings."""
    seen = [d.last_seen for d in scope.devices if d.last_seen]
    if not seen:
        return _("Ainda não recebemos nenhuma leitura.")
    return _("Nenhuma leitura de %(periodo)s. A última foi em %(quando)s.") % {
        "periodo": window_title(scope.filter),
        "quando": formats.date_time(max(seen), scope.conta.zone),
    }


def offline_table(scope: Scope) -> payload.Offline:
    """Return the gateways that are not heard, with the devices affected."""
    silent = fleet.silent_gateways(scope.gateways_in_view, scope.all_devices, scope.now)
    more = max(0, len(silent) - MAX_OFFLINE)
    text = ngettext("Mais %(n)d gateway sem comunicação", "Mais %(n)d gateways sem comunicação", more)
    return {
        "empty": "" if silent else _all_heard(scope),
        "rows": [_gateway(scope, one) for one in silent[:MAX_OFFLINE]],
        "more": text % {"n": more} if more else "",
        "total": sum(one.state is GatewayState.OFFLINE for one in silent),
    }


def _all_heard(scope: Scope) -> str:
    if scope.gateways_in_view:
        return _("Todos os gateways se comunicam.")
    return _("Nenhum gateway cadastrado ainda.")


def _gateway(scope: Scope, silent: SilentGateway) -> payload.SilentGateway:
    seen, zone = silent.gateway.last_seen, scope.conta.zone
    affected = ngettext("afeta %(n)d dispositivo", "afeta %(n)d dispositivos", silent.devices)
    row: payload.SilentGateway = {
        "id": silent.gateway.pk,
        "state": "critical" if silent.state is GatewayState.OFFLINE else "info",
        "name": f"{silent.gateway.codigo} {silent.gateway.nome}".strip(),
        "since": _("Em implantação: ainda não se comunicou"),
        "instant": None,
        "age": "",
        "affects": affected % {"n": silent.devices} if silent.devices else _("nenhum dispositivo afetado"),
    }
    if seen:
        row["since"] = _("último sinal em %(quando)s") % {"quando": formats.date_time(seen, zone)}
        row["instant"], row["age"] = iso(seen), formats.age(seen, scope.now, zone)
    return row
