"""Numbers as people type them, and objects as they are chosen."""

import re
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget, AutocompleteSelect
from django.core.exceptions import ValidationError
from django.utils.formats import get_format
from django.utils.translation import gettext_lazy as _

from tds_new.formats import MINUS


class NumberField(forms.DecimalField):
    """A number as it is written in the page's language, thousands grouped or not.

    One that two languages read differently is refused, never guessed: in Portuguese ``12.345`` may be meant
    as 12345 or as 12,345.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Use a text input, which accepts a comma in any browser."""
        kwargs["widget"] = AdminTextInputWidget(attrs={"inputmode": "decimal"})
        super().__init__(**kwargs)
        self.widget.attrs.pop("step", None)

    def to_python(self, value: Any) -> Any:
        """Return the Decimal, or None. Raises ValidationError unless it has one meaning."""
        return super().to_python(self._plain(value) if isinstance(value, str) else value)

    def _plain(self, text: str) -> str:
        """Return what was typed with a decimal point and no grouping."""
        text = re.sub(r"\s", "", text).replace(MINUS, "-")
        mark = get_format("DECIMAL_SEPARATOR")
        other = "." if mark == "," else ","
        group = re.escape(other)
        if re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}{group}\d{{3}}", text):
            message = _(
                "Escreva %(plain)s ou %(decimal)s: "
                "assim não se sabe se %(other)s separa milhares ou decimais."
            )
            names = {"plain": text.replace(other, ""), "decimal": text.replace(other, mark), "other": other}
            raise ValidationError(message, params=names, code="ambiguous")
        if re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}({group}\d{{3}})+({re.escape(mark)}\d+)?", text):
            text = text.replace(other, "")
        return text.replace(",", ".") if text.count(",") + text.count(".") == 1 else text

    def prepare_value(self, value: Any) -> Any:
        """Return a stored number as it is written, without zeros at the end.

        Typed text stays as it was typed.
        """
        if not isinstance(value, Decimal):
            return value
        return f"{value.normalize():f}".replace(".", get_format("DECIMAL_SEPARATOR"))


class KeySelect(AutocompleteSelect):
    """Django's select with a search, which takes only keys.

    A value that is none may be from the address of the page, or from a form that was tampered with: then the
    field says that it is wrong, and nothing is chosen.
    """

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        """Return the chosen objects as options."""
        return super().optgroups(name, [one for one in value if self._is_key(one)], attr)

    def _is_key(self, value: Any) -> bool:
        key = self.field.remote_field
        try:
            key.model._meta.get_field(key.field_name).to_python(value)
        except ValidationError:
            return False
        return True
