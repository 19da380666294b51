"""The parts that the admin's pages share.

They sign changes, refuse deletion in words, show pages in a Conta's zone, or only show.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as delete_selected_action
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import SimpleTemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.fields import KeySelect
from tds_new.models import AuditoriaMedicao, Dispositivo
from tds_new.models.protection import ProtectedByReadings
from tds_new.storage.audit import sign

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyInline = admin.TabularInline[Any, Any]
    BaseModelForm = forms.ModelForm[Any]
else:
    AnyModelAdmin = admin.ModelAdmin
    AnyInline = admin.TabularInline
    BaseModelForm = forms.ModelForm

NAMED_AT_MOST = 5


def labelled(label: str, text: str) -> str:
    """Return a value that names itself where a list has no columns: on a phone."""
    return format_html('<span class="label">{}</span> {}', label, text)


class ReasonForm(forms.Form):
    """Asks for a reason."""

    motivo = forms.CharField(
        label=gettext_lazy("Motivo"),
        max_length=200,
        widget=AdminTextInputWidget(attrs={"autofocus": True}),
        help_text=gettext_lazy("Fica na auditoria, com o seu nome."),
    )


class ReasonedForm(BaseModelForm):
    """Asks for a reason if one of ``reasoned`` changes after figures were computed.

    Once it is valid, ``recomputed`` names the fields that change what is computed already.
    """

    reasoned: ClassVar[tuple[str, ...]] = ()
    recomputed: tuple[str, ...] = ()

    motivo = forms.CharField(
        label=gettext_lazy("Motivo da mudança"),
        max_length=200,
        required=False,
        widget=AdminTextInputWidget,
        help_text=gettext_lazy(
            "Obrigatório quando um destes valores muda e já há leituras; fica na auditoria, com o seu nome."
        ),
    )

    def has_figures(self) -> bool:
        """Return whether anything was computed with the fields as they are stored."""
        return bool(self.instance.has_readings())

    def clean(self) -> dict[str, Any] | None:
        """Refuse a change without a reason of what figures were computed with.

        Values are compared, not what was typed: ``1,0`` is 1.
        """
        cleaned, data = super().clean(), self.cleaned_data
        changed = tuple(
            name for name in self.reasoned if name in data and data[name] != getattr(self.instance, name)
        )
        self.recomputed = changed if changed and self.instance.pk and self.has_figures() else ()
        if self.recomputed and not data.get("motivo") and "motivo" not in self.errors:
            names = ", ".join(str(self.fields[name].label).lower() for name in self.recomputed)
            text = _("Diga por que muda: %(names)s. Já há leituras, e o que foi calculado com elas muda.")
            self.add_error("motivo", forms.ValidationError(text, params={"names": names}, code="required"))
        return cleaned


class BaseAdmin(AnyModelAdmin):
    """An admin whose searches among objects take only keys."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the field, with our select where its objects are searched."""
        return super().formfield_for_foreignkey(
            db_field, request, **_searched(self, db_field, request, kwargs)
        )


class BaseInline(AnyInline):
    """A table of objects on the page of another; its searches take only keys."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the field, with our select where its objects are searched."""
        return super().formfield_for_foreignkey(
            db_field, request, **_searched(self, db_field, request, kwargs)
        )


def _searched(page: Any, db_field: Any, request: HttpRequest, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return ``kwargs`` of a field, with the widget where its objects are searched."""
    if db_field.name not in page.get_autocomplete_fields(request):
        return kwargs
    return {"widget": KeySelect(db_field, page.admin_site, using=kwargs.get("using")), **kwargs}


class SignedAdmin(BaseAdmin):
    """An admin whose changes are signed.

    The audit trail names the person who is logged in, and the reason in the form.
    """

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store the object, signed."""
        with transaction.atomic():
            sign(request.user, _reason(form))
            super().save_model(request, obj, form, change)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Store what is on the page with the object, signed."""
        with transaction.atomic():
            sign(request.user, _reason(form))
            super().save_formset(request, form, formset, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete the object, signed."""
        with transaction.atomic():
            sign(request.user)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the chosen objects, signed."""
        with transaction.atomic():
            sign(request.user)
            super().delete_queryset(request, queryset)


def _reason(form: Any) -> str:
    """Return the reason; empty if the form asks for none."""
    return form.cleaned_data.get("motivo") or ""


class LocalTimeAdmin(BaseAdmin):
    """An admin whose pages about one device use the clock of its Conta."""

    def page_device(self, request: HttpRequest, object_id: str | None) -> Dispositivo | None:
        """Return the device that the page is about; None if there is none."""
        raise NotImplementedError

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        """Process and render the page in the zone of the device's Conta."""
        device = self.page_device(request, object_id)
        with timezone.override(device.conta.zone if device else None):
            response = super().changeform_view(request, object_id, form_url, extra_context)
            return response.render() if isinstance(response, SimpleTemplateResponse) else response


class ProtectedDeletionAdmin(SignedAdmin):
    """An admin of objects that may have readings; those that have are never deleted.

    The page says what to do instead.
    """

    actions = ["delete_selected"]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would be deleted with ``objs``.

        Below an object with readings nothing is looked up: it stays.
        """
        kept = [str(obj) for obj in objs if obj.has_readings()]
        if kept:
            return [], {}, set(), kept
        deleted, counted, lacking, protected = super().get_deleted_objects(objs, request)
        lacking.discard(
            AuditoriaMedicao._meta.verbose_name
        )  # nobody may delete from the trail, but it goes with its device
        return deleted, counted, lacking, protected

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Delete one object, or go back to it with a message that says why it stays."""
        obj = self.get_object(request, object_id)
        if obj is not None and self.has_delete_permission(request, obj) and obj.has_readings():
            return self._refuse(request, [obj], self._change_url(object_id))
        try:
            return super().delete_view(request, object_id, extra_context)
        except (
            ProtectedError,
            IntegrityError,
        ):  # the first reading came meanwhile, or belongs to something below
            return self._refuse(request, [obj], self._change_url(object_id))

    @admin.action(permissions=["delete"], description=gettext_lazy("Excluir os itens selecionados"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Delete the chosen objects, all or none."""
        kept = [obj for obj in queryset if obj.has_readings()]
        if kept:
            return self._refuse(request, kept)
        try:
            with transaction.atomic():
                return delete_selected_action(self, request, queryset)
        except (ProtectedError, IntegrityError):
            return self._refuse(request, list(queryset))

    def _change_url(self, object_id: str) -> str:
        return reverse(
            f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id]
        )

    def _refuse(
        self, request: HttpRequest, kept: list[ProtectedByReadings | None], url: str | None = None
    ) -> HttpResponseRedirect:
        names = ", ".join(str(obj) for obj in kept[:NAMED_AT_MOST]) + (
            ", ..." if len(kept) > NAMED_AT_MOST else ""
        )
        text = _(
            "Não excluído, porque tem leituras: %(names)s. "
            "Desative em vez de excluir; o histórico continua guardado."
        )
        self.message_user(request, text % {"names": names}, messages.ERROR)
        return HttpResponseRedirect(url or request.get_full_path())


class ListAdmin(BaseAdmin):
    """An admin whose list has a title of its own, and a text for when it is empty."""

    nothing: Promise | str = ""  # why there is nothing; the default says that there is nothing yet

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list under its own title."""
        title = str(self.opts.verbose_name_plural)
        return super().changelist_view(
            request, {"title": title[:1].upper() + title[1:], **(extra_context or {})}
        )


class WideListAdmin(ListAdmin):
    """An admin whose list needs all the width that there is."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list without the navigation beside it."""
        return super().changelist_view(request, {"is_nav_sidebar_enabled": False, **(extra_context or {})})


class ReadOnlyAdmin(BaseAdmin):
    """An admin of rows that only the platform writes."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nobody changes rows by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nobody deletes rows by hand."""
        return False
