"""The base of every page of the admin, whichever application it is of."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpRequest

if TYPE_CHECKING:
    AnyModelAdmin = ModelAdmin[Any]
else:
    AnyModelAdmin = ModelAdmin

# What Django's filters of a field put behind its name, and its navigation by date.
OF_FILTERS = ("", "__exact", "__isnull", "__gte", "__lt", "__id__exact")
OF_DATES = ("__year", "__month", "__day")


class StrictAdmin(AnyModelAdmin):
    """An admin whose pages take from a request only what they offer.

    Django takes any lookup of any field of the model from a list's address: patterns that take for ever, and
    values that fit no field, which fail while the page is made. It looks rows up by keys that are none, and
    by a field without a name. And it saves a copy of any object, past what the page of a new one asks, where
    a form has the right name in it.
    """

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Return whether the list offers ``lookup``; the answer is a 400 if not."""
        return super().lookup_allowed(lookup, value, request) and lookup in set(self._offered(request))

    def _offered(self, request: Any) -> Iterator[str]:
        for chosen in self.get_list_filter(request):
            path = chosen[0] if isinstance(chosen, tuple | list) else chosen
            if isinstance(path, str):
                yield from (f"{path}{suffix}" for suffix in OF_FILTERS)
            else:
                yield getattr(path, "parameter_name", None) or ""
        if self.date_hierarchy:
            yield from (f"{self.date_hierarchy}{suffix}" for suffix in OF_DATES)
        # Fields by whose value links of other pages filter the list.
        for path in getattr(self, "linked_by", ()):
            yield from (path, f"{path}__exact")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the object, looked up by its key where no field is named."""
        return super().get_object(request, object_id, from_field or None)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        """Show or store an object; the answer is a 400 to a copy where none is offered."""
        if "_saveasnew" in request.POST and not self.save_as:
            raise BadRequest("this page saves no copies")
        return super().changeform_view(request, object_id, form_url, extra_context)

    def response_action(self, request: HttpRequest, queryset: Any, *where: Any) -> Any:
        """Do what was chosen with the chosen rows; the answer is a 400 if they are none."""
        key = self.opts.pk
        for value in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                key.to_python(value)
            except ValidationError:
                raise BadRequest("a chosen row is no key") from None
        return super().response_action(request, queryset, *where)
