"""Power over the platform is handed on only by people who have all of it.

The pages that could hand it on ask here: those of people, of groups, and of who works in a Conta.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import BaseAdmin, BaseInline
from tds_new.models import ContaMembership, User

if TYPE_CHECKING:
    MembershipInlineFormSet = forms.BaseInlineFormSet[
        ContaMembership, Model, forms.ModelForm[ContaMembership]
    ]
else:
    MembershipInlineFormSet = forms.BaseInlineFormSet

# The fields of a person that give rights over the platform; only superusers may change them.
POWER = ("is_staff", "is_superuser", "groups", "user_permissions")


def hands_on(request: HttpRequest) -> bool:
    """Return whether the person has all power, and so may hand it on."""
    return bool(request.user.is_superuser)


def has_power(obj: Model | None) -> bool:
    """Return whether ``obj`` has or holds power: staff, a superuser, or a group."""
    return isinstance(obj, Group) or (isinstance(obj, User) and (obj.is_staff or obj.is_superuser))


class PowerAdmin(BaseAdmin):
    """An admin of objects some of which have power.

    Only superusers change and delete those. Everything of such a person would be a way to the
    rights: the address, the password, the groups.
    """

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may change ``obj``."""
        return super().has_change_permission(request, obj) and (hands_on(request) or not has_power(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may delete ``obj``."""
        return super().has_delete_permission(request, obj) and (hands_on(request) or not has_power(obj))


class MembershipFormSet(MembershipInlineFormSet):
    """Who works in a Conta, on the Conta's page or on the person's.

    Staff see no Conta unless they are members. So the Contas of staff, one's own too, are given by
    superusers, whichever page they are given on.
    """

    hands_on: ClassVar[bool] = False

    def clean(self) -> None:
        """Refuse to add, change or remove what concerns staff."""
        super().clean()
        if self.hands_on:
            return
        for form in self.forms:
            if form.has_changed() and any(has_power(person) for person in _concerned(form)):
                raise ValidationError(_("Só superusuários mudam as contas de quem é da equipe de operação."))


def _concerned(form: Any) -> list[User]:
    """Return whose membership a row was, and whose it would be."""
    stored = User.objects.filter(memberships=form.instance.pk) if form.instance.pk else ()
    return [
        *stored,
        *filter(None, [form.cleaned_data.get("user") if hasattr(form, "cleaned_data") else None]),
    ]


class MembershipInline(BaseInline):
    """Contas of a person, or people of a Conta, with their roles."""

    model = ContaMembership
    formset = MembershipFormSet
    extra = 0
    autocomplete_fields = ("conta", "user")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Return the formset, which knows whether the person has all power."""
        made = super().get_formset(request, obj, **kwargs)
        return type(made.__name__, (made,), {"hands_on": hands_on(request)})
