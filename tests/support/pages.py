"""What the forms of a page would send."""

from collections import defaultdict
from html.parser import HTMLParser


class FormReader(HTMLParser):
    """Collects the fields of a page's forms.

    ``values`` is what would be sent as it stands; ``choices`` is what could be chosen instead.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = defaultdict(list)
        self.choices: dict[str, list[str]] = defaultdict(list)
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a field, or an option of the select that is open."""
        given = {name: value or "" for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "option" and self._select:
            self.choices[self._select].append(value)
            if "selected" in given:
                self.values[self._select].append(value)
        elif tag == "input" and given.get("type") in ("checkbox", "radio") and "checked" not in given:
            self.choices[name].append(value or "on")
        elif tag in ("input", "button", "textarea") and name:
            self.values[name].append(value)
        elif tag == "select" and name:
            self._select = name
            self.choices.setdefault(name, [])  # of a search, before anything is found

    def handle_endtag(self, tag: str) -> None:
        """Close a select."""
        if tag == "select":
            self._select = ""


def form_of(page: str) -> dict[str, list[str]]:
    """Return the names and values that the forms of a page would send."""
    return dict(FormReader(page).values)
