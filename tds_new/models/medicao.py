"""What people and the ledger know about a meter: dated parameters, meter changes, decisions, and what was out of the ordinary."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime, now
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from tds_new.models.consumo import ConsumoCongelado
from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway
from tds_new.models.parametros import ParametrosMedicao

# Nobody registered a meter here before; an entry before it is a slip of the pen.
OLDEST_YEAR = 2000
PLANNED_AHEAD = timedelta(days=366)


def assinar(usuario: Any, motivo: str = "") -> None:
    """Sign what this transaction changes about a device's metering: the audit trail names ``usuario`` and gives ``motivo``.

    Raises TransactionManagementError outside a transaction, where the signature would be lost at once.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("sign within transaction.atomic()")
    with connection.cursor() as cursor:
        names = "SELECT set_config('tds.usuario', %s, true), set_config('tds.motivo', %s, true)"
        cursor.execute(names, [usuario.get_username(), motivo])


def written(em: datetime, conta: Conta | None = None) -> str:
    """``18/02/2026 12:47`` or ``Feb 18, 2026 12:47``, by the clock of ``conta`` (else the page's): never a day that may be a month."""
    english = (get_language() or "").startswith("en")
    return str(
        date_format(localtime(em, conta.zone if conta else None), "M j, Y H:i" if english else "d/m/Y H:i")
    )


def why_closed(em: datetime, conta: Conta) -> str:
    """Why nothing is computed again at ``em``, in the time of ``conta``; empty where it is."""
    frozen = ConsumoCongelado.objects.first()
    if frozen is None or em >= frozen.ate:
        return ""
    text = _(
        "O consumo até %(ate)s está fechado, porque as leituras de antes já foram apagadas: nada seria recalculado."
    )
    return text % {"ate": written(frozen.ate, conta)}


class Registro(models.Model):
    """An entry that a person makes about a device's metering. The database marks what it touches for computing again (migration 0006)."""

    momento: str  # the field that says when it takes effect

    dispositivo = models.ForeignKey(Dispositivo, models.CASCADE, verbose_name=_("dispositivo"))
    motivo = models.CharField(_("motivo"), max_length=200, blank=True, default="", db_default="")
    registrado_por = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("registrado por"),
        editable=False,
    )
    registrado_em = models.DateTimeField(_("registrado em"), default=now, db_default=Now(), editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.dispositivo}, {written(getattr(self, self.momento), self.dispositivo.conta)}"

    def clean(self) -> None:
        """Refuse a second entry of a device at one moment, and a moment for which nothing is computed any more."""
        super().clean()
        em: datetime | None = getattr(self, self.momento)
        if em is None or self.dispositivo_id is None:
            return
        if em.year < OLDEST_YEAR:
            raise ValidationError({self.momento: _("Confira o ano: antes de 2000 não há medição aqui.")})
        others: models.QuerySet[Any] = type(self)._default_manager.filter(
            **{"dispositivo": self.dispositivo_id, self.momento: em}
        )
        if others.exclude(pk=self.pk).exists():
            raise ValidationError(
                {
                    self.momento: _(
                        "Este dispositivo já tem um registro deste tipo nesse mesmo instante; altere aquele."
                    )
                }
            )
        closed = why_closed(em, self.dispositivo.conta)
        if closed:
            raise ValidationError({self.momento: closed})


class TrocaMedidor(Registro):
    """A meter change: the old meter's last register value and the new one's first."""

    momento = "ocorrida_em"

    ocorrida_em = models.DateTimeField(_("ocorrida em"))
    leitura_final = models.DecimalField(_("leitura final do medidor antigo"), max_digits=15, decimal_places=4)
    leitura_inicial = models.DecimalField(
        _("leitura inicial do medidor novo"), max_digits=15, decimal_places=4, default=Decimal(0)
    )

    class Meta:
        db_table = "tds_new_troca_medidor"
        verbose_name = _("troca de medidor")
        verbose_name_plural = _("trocas de medidor")
        ordering = ["-ocorrida_em"]
        constraints = [
            models.UniqueConstraint(fields=["dispositivo", "ocorrida_em"], name="tds_new_troca_medidor_chave")
        ]

    def clean(self) -> None:
        """Refuse a change that has not happened yet, one of what is no register, and values that no register shows."""
        super().clean()
        if self.dispositivo_id is None or self.ocorrida_em is None:
            return
        if self.dispositivo.tipo_leitura != Dispositivo.TipoLeitura.ACUMULADA:
            raise ValidationError(
                _(
                    "Só um medidor de leitura acumulada tem registrador: para este dispositivo não há troca a registrar."
                )
            )
        if self.ocorrida_em > now():
            raise ValidationError(
                {"ocorrida_em": _("A troca ainda não aconteceu: registre-a depois de feita.")}
            )
        # The old meter ended under the parameters before this moment, the new one begins under those from it on.
        for field, inclusive in (("leitura_final", False), ("leitura_inicial", True)):
            value: Decimal | None = getattr(self, field)
            modulus = parametros_em(
                self.dispositivo, self.ocorrida_em, inclusive=inclusive
            ).valor_maximo_registro
            if value is not None and value < 0:
                raise ValidationError({field: _("Um registrador não mostra valor negativo.")})
            if value is not None and modulus is not None and value > modulus:
                text = _("Acima do valor máximo do registrador, que é %(maximo)s.")
                raise ValidationError(
                    {
                        field: text
                        % {"maximo": number_format(modulus.normalize().__format__("f"), force_grouping=True)}
                    }
                )


class VigenciaParametros(Registro, ParametrosMedicao):
    """A device's metering parameters from a moment on, all four of them; before the first, the device's own hold."""

    momento = "desde"

    desde = models.DateTimeField(_("desde"))

    class Meta:
        db_table = "tds_new_vigencia_parametros"
        verbose_name = _("vigência de parâmetros")
        verbose_name_plural = _("vigências de parâmetros")
        ordering = ["desde"]
        constraints = [
            models.UniqueConstraint(fields=["dispositivo", "desde"], name="tds_new_vigencia_chave")
        ]

    def clean(self) -> None:
        """Refuse what lies more than a year ahead: planned work is entered before it is done, a slip of the pen is not."""
        super().clean()
        if self.desde is not None and self.desde > now() + PLANNED_AHEAD:
            raise ValidationError(
                {"desde": _("Confira a data: uma mudança planejada é aceita até um ano à frente.")}
            )


def parametros_em(dispositivo: Dispositivo, em: datetime, *, inclusive: bool = True) -> ParametrosMedicao:
    """The parameters of ``dispositivo`` in force at ``em`` (just before it, where not ``inclusive``)."""
    before = {"desde__lte" if inclusive else "desde__lt": em}
    return (
        VigenciaParametros.objects.filter(dispositivo=dispositivo.pk, **before).order_by("-desde").first()
        or dispositivo
    )


def maximo_plausivel(dispositivo: Dispositivo, inicio: datetime, fim: datetime) -> Decimal | None:
    """The most that ``dispositivo`` plausibly counts from ``inicio`` to ``fim``, in its register's unit; None where that is not known.

    Cut to the four decimals that registers have: what one counts is more than this exactly where it is more than the whole.
    """
    hourly = parametros_em(dispositivo, fim).consumo_maximo_hora
    if hourly is None:
        return None
    microseconds = (fim - inicio) // timedelta(microseconds=1)
    return Decimal(int(hourly * 10_000) * microseconds // 3_600_000_000).scaleb(-4)


def partes_com_trocas(base: Decimal, trocas: Sequence[TrocaMedidor], valor: Decimal) -> list[Decimal]:
    """What each meter counted, from ``base`` on the first to ``valor`` on the last, with ``trocas`` in between."""
    starts = [base, *(troca.leitura_inicial for troca in trocas)]
    ends = [*(troca.leitura_final for troca in trocas), valor]
    return [end - start for start, end in zip(starts, ends, strict=True)]


def trocas_entre(dispositivo: Dispositivo, inicio: datetime, fim: datetime) -> list[TrocaMedidor]:
    """The changes of ``dispositivo``'s meter after ``inicio`` and not after ``fim``, the first first."""
    return list(
        TrocaMedidor.objects.filter(
            dispositivo=dispositivo.pk, ocorrida_em__gt=inicio, ocorrida_em__lte=fim
        ).order_by("ocorrida_em")
    )


class RevisaoLeitura(Registro):
    """A person's decision on one reading: believe it whatever the plausible maximum says, or leave it out.

    The last fields are the evidence: what the ledger said of the reading when it was decided on, kept by the database (migration 0008).
    """

    momento = "leitura_em"

    class Decisao(models.TextChoices):
        APROVADA = "APROVADA", _("Aprovada")
        DESCARTADA = "DESCARTADA", _("Descartada")

    leitura_em = models.DateTimeField(_("leitura de"))
    decisao = models.CharField(_("decisão"), max_length=10, choices=Decisao.choices)
    conta_id = models.BigIntegerField(null=True, editable=False)
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4, null=True, editable=False)
    classe = models.CharField(
        _("classe na decisão"), max_length=11, default="", db_default="", editable=False
    )
    inicio = models.DateTimeField(_("leitura de base"), null=True, editable=False)
    valor_base = models.DecimalField(
        _("valor de base"), max_digits=15, decimal_places=4, null=True, editable=False
    )

    class Meta:
        db_table = "tds_new_revisao_leitura"
        verbose_name = _("decisão sobre leitura")
        verbose_name_plural = _("decisões sobre leituras")
        ordering = ["-leitura_em"]
        constraints = [
            models.UniqueConstraint(
                fields=["dispositivo", "leitura_em"], name="tds_new_revisao_leitura_chave"
            ),
            models.CheckConstraint(
                condition=models.Q(decisao__in=["APROVADA", "DESCARTADA"]),
                name="tds_new_revisao_leitura_decisao",
            ),
        ]


class OcorrenciaMedicao(models.Model):
    """A reading whose segment is of any class but NORMAL (docs/metering.md); written by ``tds_new.metering`` only."""

    class Classe(models.TextChoices):
        TROCA = "TROCA", _("Troca de medidor")
        QUEDA = "QUEDA", _("Queda tolerada")
        VIRADA = "VIRADA", _("Virada do registrador")
        REINICIO = "REINICIO", _("Reinício do registrador")
        SUSPEITA = "SUSPEITA", _("Leitura suspeita")
        IMPLAUSIVEL = "IMPLAUSIVEL", _("Salto implausível")

    pk = models.CompositePrimaryKey("dispositivo_id", "leitura_em")
    dispositivo = models.ForeignKey(
        Dispositivo, models.CASCADE, related_name="+", verbose_name=_("dispositivo"), db_index=False
    )
    conta_id = models.BigIntegerField(db_index=True)
    leitura_em = models.DateTimeField(_("leitura de"))
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4)
    classe = models.CharField(_("classe"), max_length=11, choices=Classe.choices)
    inicio = models.DateTimeField(_("leitura de base"))
    valor_base = models.DecimalField(_("valor de base"), max_digits=15, decimal_places=4)
    consumo = models.DecimalField(
        _("consumo contado"),
        max_digits=16,
        decimal_places=4,
        null=True,
        help_text=_("Na unidade do registrador; vazio quando não conta."),
    )
    decidida_em = models.DateTimeField(_("decidida pela leitura de"), null=True)

    class Meta:
        db_table = "tds_new_ocorrencia_medicao"
        verbose_name = _("ocorrência de medição")
        verbose_name_plural = _("ocorrências de medição")
        indexes = [models.Index(fields=["classe", "-leitura_em"], name="tds_new_ocorrencia_classe")]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.leitura_em:%Y-%m-%d %H:%M} {self.classe}"


class LeituraEmRevisao(models.Model):
    """A reading that people should know of: what the ledger found out of the ordinary, and whatever somebody has decided on.

    A view over both, so that a decision stays in sight when the ledger has followed it and finds nothing any more. ``classe`` is what the
    ledger says now (empty where it finds nothing), ``classe_decisao`` what it said when somebody decided.
    """

    Classe = OcorrenciaMedicao.Classe

    class Situacao(models.TextChoices):
        ESPERA = "ESPERA", _("À espera")
        RESOLVIDA = "RESOLVIDA", _("Resolvida")
        APROVADA = "APROVADA", _("Aprovada")
        DESCARTADA = "DESCARTADA", _("Descartada")

    chave = models.CharField(max_length=40, primary_key=True)
    dispositivo = models.ForeignKey(
        Dispositivo, models.DO_NOTHING, related_name="+", verbose_name=_("dispositivo"), db_constraint=False
    )
    gateway = models.ForeignKey(
        Gateway, models.DO_NOTHING, related_name="+", verbose_name=_("gateway"), db_constraint=False
    )
    conta = models.ForeignKey(
        Conta, models.DO_NOTHING, related_name="+", verbose_name=_("conta"), db_constraint=False
    )
    leitura_em = models.DateTimeField(_("leitura de"))
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4, null=True)
    inicio = models.DateTimeField(_("leitura de base"), null=True)
    valor_base = models.DecimalField(_("valor de base"), max_digits=15, decimal_places=4, null=True)
    salto = models.DecimalField(_("salto"), max_digits=16, decimal_places=4, null=True)
    consumo = models.DecimalField(_("consumo contado"), max_digits=16, decimal_places=4, null=True)
    classe = models.CharField(_("classe"), max_length=11, choices=OcorrenciaMedicao.Classe.choices)
    classe_decisao = models.CharField(
        _("classe na decisão"), max_length=11, choices=OcorrenciaMedicao.Classe.choices
    )
    situacao = models.CharField(_("situação"), max_length=10, choices=Situacao.choices)
    espera = models.BooleanField()
    decisao = models.ForeignKey(
        RevisaoLeitura,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        verbose_name=_("decisão"),
        db_constraint=False,
    )

    class Meta:
        managed = False
        db_table = "tds_new_leitura_em_revisao"
        default_permissions = ("view", "change")
        verbose_name = _("leitura em revisão")
        verbose_name_plural = _("leituras em revisão")
        ordering = ["-espera", "-leitura_em", "chave"]

    def __str__(self) -> str:
        return f"{self.dispositivo}, {written(self.leitura_em, self.conta)}"

    @property
    def may_be_approved(self) -> bool:
        """Approving believes a reading whatever the maximum: that says something of one which is not believed, and of no other."""
        return self.decisao_id is None and self.classe in (self.Classe.SUSPEITA, self.Classe.IMPLAUSIVEL)

    @property
    def may_be_discarded(self) -> bool:
        """Whether nobody has decided on it yet."""
        return self.decisao_id is None

    @property
    def may_be_a_change(self) -> bool:
        """Whether a meter change may be what explains it."""
        return self.decisao_id is None and self.inicio is not None and self.classe != self.Classe.TROCA

    @property
    def may_be_undone(self) -> bool:
        """Whether there is a decision to take back."""
        return self.decisao_id is not None


class AuditoriaMedicao(models.Model):
    """Who changed what about a device's metering, when and why: written by the database itself, never changed."""

    class Tabela(models.TextChoices):
        TROCA = "tds_new_troca_medidor", _("Troca de medidor")
        VIGENCIA = "tds_new_vigencia_parametros", _("Vigência de parâmetros")
        REVISAO = "tds_new_revisao_leitura", _("Decisão sobre leitura")
        DISPOSITIVO = "tds_new_dispositivo", _("Dispositivo")
        GATEWAY = "tds_new_gateway", _("Gateway")

    class Acao(models.TextChoices):
        INSERT = "INSERT", _("Inclusão")
        UPDATE = "UPDATE", _("Alteração")
        DELETE = "DELETE", _("Exclusão")

    em = models.DateTimeField(_("data e hora"), db_default=Now())
    dispositivo = models.ForeignKey(
        Dispositivo, models.CASCADE, related_name="+", verbose_name=_("dispositivo")
    )
    tabela = models.CharField(_("registro"), max_length=63, choices=Tabela.choices)
    acao = models.CharField(_("ação"), max_length=6, choices=Acao.choices)
    antes = models.JSONField(_("antes"), null=True)
    depois = models.JSONField(_("depois"), null=True)
    usuario = models.CharField(_("usuário"), max_length=254, default="", db_default="")
    motivo = models.CharField(_("motivo"), max_length=200, default="", db_default="")

    class Meta:
        db_table = "tds_new_auditoria_medicao"
        verbose_name = _("registro de auditoria")
        verbose_name_plural = _("registros de auditoria")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_tabela_display()}, {self.get_acao_display().lower()}, {written(self.em)}"
