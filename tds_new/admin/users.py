"""The people, who log in with an e-mail address."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import BaseInline, ListAdmin, SignedAdmin
from tds_new.models import ContaMembership, User

if TYPE_CHECKING:
    CreationForm = AdminUserCreationForm[User]
    ChangeForm = UserChangeForm[User]
    PeopleAdmin = DjangoUserAdmin[User]
else:
    CreationForm = AdminUserCreationForm
    ChangeForm = UserChangeForm
    PeopleAdmin = DjangoUserAdmin

# The fields that give rights over the platform; only superusers may change them.
POWER = ("is_staff", "is_superuser", "groups", "user_permissions")


class UserCreationByEmailForm(CreationForm):
    """A new person: an address, and a password typed twice."""

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        """Return the address as it is stored.

        So one that is taken in another spelling is this field's error.
        """
        return _kept_email(self.cleaned_data)


class UserChangeByEmailForm(ChangeForm):
    """An existing person; the password has a page of its own."""

    class Meta:
        model = User
        fields = "__all__"

    def clean_email(self) -> str:
        """Return the address as it is stored.

        So one that is taken in another spelling is this field's error.
        """
        return _kept_email(self.cleaned_data)


def _kept_email(cleaned_data: dict[str, Any]) -> str:
    return str(cleaned_data["email"]).strip().lower()


class MembershipInline(BaseInline):
    """The Contas of a person."""

    model = ContaMembership
    extra = 0
    autocomplete_fields = ("conta",)


@admin.register(User)
class UserAdmin(ListAdmin, SignedAdmin, PeopleAdmin):
    """People, their Contas and their rights in this admin, which superusers give."""

    form = UserChangeByEmailForm
    add_form = UserCreationByEmailForm
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email", "name")
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ("groups", "user_permissions")
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("email", "name", "password", "is_active")}),
        (_("Direitos na operação"), {"fields": POWER}),
        (_("Datas"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {"classes": ("wide",), "fields": ("email", "name", "usable_password", "password1", "password2")},
        ),
    )

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Return no Contas for a new person, who first gets an address and a password."""
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the rights, too, unless a superuser asks: others see but never give them."""
        own = tuple(super().get_readonly_fields(request, obj))
        return own if request.user.is_superuser else own + POWER

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may change ``obj``.

        Only superusers change a superuser's address or password: it would be a way to their rights.
        """
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the person may delete ``obj``; only superusers delete one."""
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)


def _may_touch(request: HttpRequest, obj: Any) -> bool:
    return obj is None or bool(request.user.is_superuser) or not (obj.is_superuser or obj.is_staff)
