"""The operator's admin: Contas, people, gateways, devices, what was set aside, and the consumers. Readings are not in it."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from tds_new.admin import contas, dispositivos, gateways, operacao, users

__all__ = ["contas", "dispositivos", "gateways", "operacao", "users"]

admin.site.site_header = _("TDS New: operação")
admin.site.site_title = _("TDS New")
admin.site.index_title = _("Operação da plataforma")
