"""The pages that ask for a password: the login, and the change of one's own."""

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from tds_new.models.user import canonical_email
from tds_new.web.login.devices import remember


class CanonicalEmailField(forms.EmailField):
    """An address in any spelling, turned into the one in which it is stored."""

    def to_python(self, value: Any) -> Any:
        """Return the canonical address, before it is validated."""
        plain = super().to_python(value)
        return canonical_email(plain) if isinstance(plain, str) else plain


class LoginForm(AuthenticationForm):
    """E-mail and password.

    An unknown address and a wrong password get the same answer.
    """

    username = CanonicalEmailField(
        label=_("E-mail"),
        max_length=254,
        widget=forms.EmailInput(
            attrs={
                "autocomplete": "username",
                "autofocus": True,
                "spellcheck": "false",
                "autocapitalize": "none",
            }
        ),
        error_messages={"invalid": _("Informe um e-mail, por exemplo nome@empresa.com.br.")},
    )
    password = forms.CharField(
        label=_("Senha"), strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    error_messages = {
        "invalid_login": _("E-mail ou senha não conferem. Verifique os dois e tente de novo."),
        "inactive": _("E-mail ou senha não conferem. Verifique os dois e tente de novo."),
    }

    def __init__(self, request: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs["class"] = "field"
            if name in self.errors if self.is_bound else False:
                field.widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"error-{name}"}


class Login(LoginView):
    """The page to log in, the only one; ``next`` is followed only within this site."""

    template_name = "tds_new/login.html"
    form_class = LoginForm
    redirect_authenticated_user = True

    def form_valid(self, form: Any) -> HttpResponse:
        """Log in, and let the browser be known as the person's."""
        response = super().form_valid(form)
        remember(response, form.get_user().pk)
        return response


class OwnPasswordForm(AdminPasswordChangeForm):
    """A new password; the old one is checked as at the login, within the same limits."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        """Return the old password. Raises LoginRefusedError where too many were tried."""
        password = str(self.cleaned_data["old_password"])
        if authenticate(self.request, username=self.user.get_username(), password=password) != self.user:
            raise forms.ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return password


class OwnPasswordChange(PasswordChangeView):
    """The page on which somebody who is logged in changes the password."""

    form_class = OwnPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """Return the form's arguments, with the request: it says where the try comes from."""
        return {**super().get_form_kwargs(), "request": self.request}
