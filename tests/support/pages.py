"""What the forms of a page would send."""

from collections import defaultdict
from html.parser import HTMLParser


class FormReader(HTMLParser):
    """Collects what the forms of a page would send."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = defaultdict(list)
        self._select = self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if (
            tag == "input"
            and name
            and not (given.get("type") in ("checkbox", "radio") and "checked" not in dict(attrs))
        ):
            self.values[name].append(given.get("value", ""))
        elif tag in ("select", "textarea") and name:
            self.values.setdefault(name, [])
            self._select = name if tag == "select" else ""
            self._area = name if tag == "textarea" else ""
        elif (
            tag == "option" and self._select and ("selected" in dict(attrs) or not self.values[self._select])
        ):
            self.values[self._select] = [given.get("value", "")]
        elif tag == "button" and name:
            self.values[name].append(given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self._select = self._area = ""


def form_of(page: str) -> dict[str, list[str]]:
    """Return the names and values that the forms of a page would send."""
    reader = FormReader()
    reader.feed(page)
    return {name: values or [""] for name, values in reader.values.items()}
