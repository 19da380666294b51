"""What the dashboard's scripts say: translated here, with everything else."""

from django.utils.translation import gettext as _


def texts() -> dict[str, str]:
    """Sentences by name; ``%s`` is filled in by the browser."""
    return {
        "atualizado": _("atualizado %s"),
        "atrasado": _("atualizado %s, tentando de novo"),
        "pausado": _("pausado, dados de %s"),
        "pausar": _("Pausar"),
        "continuar": _("Continuar"),
        "sem_dados": _("sem dados"),
        "interpolado": _("interpolado"),
        "estimado": _("estimado"),
        "ano_anterior": _("Ano anterior"),
        "so_medido": _("só %s medido"),
        "inicio_do_intervalo": _("Início do intervalo"),
        "nova_leitura": _("Mostrar 1 nova leitura"),
        "novas_leituras": _("Mostrar %s novas leituras"),
        "mudou_offline": _("Gateways offline agora: %s."),
        "sem_conexao": _("Sem conexão com o servidor desde %s. Os valores abaixo são dessa hora."),
        "conexao_voltou": _("A conexão com o servidor voltou."),
        "sessao_terminou": _("Sua sessão terminou. Os valores abaixo pararam de ser atualizados."),
        "entrar_de_novo": _("Entrar de novo"),
        "sem_acesso": _("Você não tem mais acesso a esta conta."),
        "ir_para_o_inicio": _("Ir para o início"),
        "versao_nova": _("Há uma versão nova desta página."),
        "novidades": _("Há dispositivos ou gráficos novos."),
        "recarregar": _("Recarregar"),
        "cursor_parado": _("Arraste, ou use as setas, para ver os valores de cada momento."),
    }
