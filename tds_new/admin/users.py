"""The people, who log in with an e-mail address, and the groups of staff."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import ListAdmin, SignedAdmin
from tds_new.admin.power import POWER, MembershipInline, PowerAdmin, hands_on
from tds_new.models import User
from tds_new.models.user import canonical_email

if TYPE_CHECKING:
    CreationForm = AdminUserCreationForm[User]
    ChangeForm = UserChangeForm[User]
    PeopleAdmin = DjangoUserAdmin[User]
else:
    CreationForm = AdminUserCreationForm
    ChangeForm = UserChangeForm
    PeopleAdmin = DjangoUserAdmin


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
    return canonical_email(str(cleaned_data["email"]))


@admin.register(User)
class UserAdmin(PowerAdmin, ListAdmin, SignedAdmin, PeopleAdmin):
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
        return own if hands_on(request) else own + POWER


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(PowerAdmin, ListAdmin, DjangoGroupAdmin):
    """Groups of rights, which staff see and superusers make."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may make a group: it would hold any rights."""
        return super().has_add_permission(request) and hands_on(request)
