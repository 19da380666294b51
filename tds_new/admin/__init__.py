"""The operator's admin: Contas, people, gateways, devices, meters, what was set aside, consumers. Of readings only what needs people."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from tds_new.admin import audit, contas, devices, gateways, meter_entries, operations, review, users

__all__ = ["audit", "contas", "devices", "gateways", "meter_entries", "operations", "review", "users"]

admin.site.site_header = _("TDS New: operação")
admin.site.site_title = _("TDS New")
admin.site.index_title = _("Operação da plataforma")
