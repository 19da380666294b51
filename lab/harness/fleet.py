"""Register a fleet in the database of an experiment.

Its sites and devices are described as the demonstration's.

The demonstration registers through the models, device by device; 10,000 gateways would take minutes.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from tds_new.demo.fleet import Device, Site

REGISTER = """
WITH conta AS (INSERT INTO tds_new_conta (name) VALUES (%(conta)s) RETURNING id),
gateway AS (
    INSERT INTO tds_new_gateway (conta_id, codigo, mac, qte_max_dispositivos)
    SELECT conta.id, site.codigo, site.mac, %(devices_at_most)s
    FROM conta, unnest(%(site_codes)s::text[], %(macs)s::text[]) AS site (codigo, mac)
    WHERE NOT EXISTS (SELECT FROM tds_new_gateway WHERE mac = site.mac)
    RETURNING id, conta_id, mac
), device AS (
    INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, grandeza, unidade, tipo_leitura)
    SELECT gateway.conta_id, gateway.id, d.codigo, d.grandeza, d.unidade, d.tipo_leitura
    FROM gateway JOIN unnest(
        %(device_macs)s::text[], %(device_codes)s::text[], %(grandezas)s::text[], %(unidades)s::text[],
        %(tipos_leitura)s::text[]
    ) AS d (mac, codigo, grandeza, unidade, tipo_leitura) ON d.mac = gateway.mac
    RETURNING id, gateway_id, codigo
)
SELECT gateway.mac, device.codigo, device.id, gateway.id, gateway.conta_id
FROM gateway JOIN device ON device.gateway_id = gateway.id
"""

# The devices of the benchmarks' gateways: two registers and a temperature.
BENCHMARK_DEVICES = (
    Device("D01", "", "ENERGIA", "kWh", "ACUMULADA"),
    Device("D02", "", "AGUA", "m3", "ACUMULADA"),
    Device("D03", "", "TEMPERATURA", "\u00b0C", "INSTANTANEA"),
)

RegisteredDevice = tuple[str, str, int, int, int]


def register(connection: Connection[Any], conta: str, sites: Sequence[Site]) -> list[RegisteredDevice]:
    """Register a new Conta of this name with these sites.

    A gateway whose MAC is registered already is left out.

    Returns MAC, device code, device id, gateway id and Conta id of each new device.
    """
    devices = [(site.mac, device) for site in sites for device in site.devices]
    return connection.execute(
        REGISTER,
        {
            "conta": conta,
            "devices_at_most": max((len(site.devices) for site in sites), default=1),
            "site_codes": [site.codigo for site in sites],
            "macs": [site.mac for site in sites],
            "device_macs": [mac for mac, _ in devices],
            "device_codes": [device.codigo for _, device in devices],
            "grandezas": [device.grandeza for _, device in devices],
            "unidades": [device.unidade for _, device in devices],
            "tipos_leitura": [device.tipo_leitura for _, device in devices],
        },
    ).fetchall()
