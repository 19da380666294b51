"""The texts of the dashboard's scripts, translated here with everything else."""

from django.utils.translation import gettext as _


def texts() -> dict[str, str]:
    """Return sentences by name; the browser fills in ``%s``."""
    return {
        "updated": _("atualizado %s"),
        "late": _("atualizado %s, tentando de novo"),
        "paused": _("pausado, dados de %s"),
        "pause": _("Pausar"),
        "resume": _("Continuar"),
        "no_data": _("sem dados"),
        "interpolated": _("interpolado"),
        "estimated": _("estimado"),
        "previous_year": _("Ano anterior"),
        "only_measured": _("só %s medido"),
        "provisional": _("provisório"),
        "interval_start": _("Início do intervalo"),
        "new_reading": _("Mostrar 1 nova leitura"),
        "new_readings": _("Mostrar %s novas leituras"),
        "offline_changed": _("Gateways offline agora: %s."),
        "connection_lost": _("Sem conexão com o servidor desde %s. Os valores abaixo são dessa hora."),
        "connection_back": _("A conexão com o servidor voltou."),
        "session_ended": _("Sua sessão terminou. Os valores abaixo pararam de ser atualizados."),
        "log_in_again": _("Entrar de novo"),
        "no_access": _("Você não tem mais acesso a esta conta."),
        "go_home": _("Ir para o início"),
        "new_version": _("Há uma versão nova desta página."),
        "news": _("Há dispositivos ou gráficos novos."),
        "reload": _("Recarregar"),
        "cursor_idle": _("Arraste, ou use as setas, para ver os valores de cada momento."),
    }
