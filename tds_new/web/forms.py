"""The form for logging in."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext_lazy as _


class LoginForm(AuthenticationForm):
    """E-mail and password.

    An unknown address and a wrong password get the same answer.
    """

    username = forms.EmailField(
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

    def clean_username(self) -> str:
        """Return the address in lower case, as addresses are stored.

        So failures count for one person, however they spell it.
        """
        return str(self.cleaned_data["username"]).lower()
