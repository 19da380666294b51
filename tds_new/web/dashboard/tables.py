"""The tables: last readings and gateways that are not heard."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries import fleet
from tds_new.queries.latest import Reading, latest_readings
from tds_new.web.dashboard.card import iso
from tds_new.web.dashboard.context import Context, colour, quantity_word

MAX_OFFLINE = 5


def readings_table(context: Context) -> dict[str, Any]:
    """The newest readings within the window, as the meters sent them."""
    rows = latest_readings(context.conta, context.devices, context.filter.window, context.now)
    return {
        "vazio": "" if rows else _no_readings(context),
        "linhas": [_reading(context, row) for row in rows],
    }


def _reading(context: Context, reading: Reading) -> dict[str, Any]:
    gauge = reading.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA
    return {
        "id": f"{reading.device.pk}-{int(reading.time.timestamp() * 1000)}",
        "dispositivo": context.names[reading.device.pk],
        "gateway": reading.device.gateway.codigo,
        "grandeza": quantity_word(reading.device.grandeza),
        "cor": colour(reading.device.grandeza),
        "valor": (formats.value if gauge else lambda v, _unit: formats.register(v))(
            reading.valor, reading.unidade
        ),
        "un": reading.unidade,
        "instante": iso(reading.time),
        "quando": formats.date_time(reading.time, context.conta.zone),
    }


def _no_readings(context: Context) -> str:
    seen = [d.last_seen for d in context.devices if d.last_seen]
    if not seen:
        return _("Ainda não recebemos nenhuma leitura.")
    return _("Nenhuma leitura de %(periodo)s. A última foi em %(quando)s.") % {
        "periodo": context.filter.title,
        "quando": formats.date_time(max(seen), context.conta.zone),
    }


def offline_table(context: Context) -> dict[str, Any]:
    """The gateways that are not heard, with what that affects; at most five. ``total`` counts those that are offline, all of them."""
    silent_gateways = fleet.silent_gateways(context.gateways_in_view, context.all_devices, context.now)
    calm = (
        _("Todos os gateways se comunicam.")
        if context.gateways_in_view
        else _("Nenhum gateway cadastrado ainda.")
    )
    more = max(0, len(silent_gateways) - MAX_OFFLINE)
    more_text = ngettext(
        "Mais %(n)d gateway sem comunicação", "Mais %(n)d gateways sem comunicação", more
    ) % {"n": more}
    return {
        "vazio": "" if silent_gateways else calm,
        "linhas": [_gateway(context, silent) for silent in silent_gateways[:MAX_OFFLINE]],
        "mais": more_text if more else "",
        "total": sum(silent.state is fleet.GatewayState.OFFLINE for silent in silent_gateways),
    }


def _gateway(context: Context, silent: fleet.SilentGateway) -> dict[str, Any]:
    seen = silent.gateway.last_seen
    zone = context.conta.zone
    since = _("Em implantação: ainda não se comunicou")
    if seen:
        since = _("último sinal em %(quando)s") % {"quando": formats.date_time(seen, zone)}
    return {
        "id": silent.gateway.pk,
        "estado": "critical" if silent.state is fleet.GatewayState.OFFLINE else "info",
        "nome": f"{silent.gateway.codigo} {silent.gateway.nome}".strip(),
        "desde": since,
        "instante": iso(seen) if seen else None,
        "idade": formats.age(seen, context.now, zone) if seen else "",
        "afeta": ngettext("afeta %(n)d dispositivo", "afeta %(n)d dispositivos", silent.devices)
        % {"n": silent.devices}
        if silent.devices
        else _("nenhum dispositivo afetado"),
    }
