"""Opens to the operator what the platform stores.

Enters: forms of staff.
Leaves: pages; rows, signed for the audit trail. Of readings it shows only those that need people.
May import: models, queries, metering.preview, ingestion.reprocess, broker.accounts, storage, formats, units.
"""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from tds_new.admin import audit, contas, devices, gateways, logins, meter_entries, operations, review, users

__all__ = [
    "audit",
    "contas",
    "devices",
    "gateways",
    "logins",
    "meter_entries",
    "operations",
    "review",
    "users",
]

admin.site.site_header = _("TDS New: operação")
admin.site.site_title = _("TDS New")
admin.site.index_title = _("Operação da plataforma")
