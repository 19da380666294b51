"""Only who has all power over the platform hands it on, whatever page could grant it.

Staff here have every single right, and are no superusers.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse

from tds_new.models import Conta, ContaMembership, MensagemRejeitada, Motivo, User
from tests.support import factories
from tests.support.meters import superuser
from tests.support.pages import form_of

pytestmark = pytest.mark.django_db
FLAGS = {"is_staff", "is_superuser"}


@pytest.fixture
def staff() -> User:
    """Somebody of the staff with every right that there is, who is in a group."""
    user = factories.person("equipe@example.com", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    user.groups.add(Group.objects.create(name="Plantão"))
    return user


@pytest.fixture
def client(staff: User) -> Client:
    client = Client()
    client.force_login(staff)
    assert client.get(reverse("admin:index")).status_code == 200
    return client


@pytest.fixture
def people() -> list[User]:
    """A member of a Conta, a colleague of the staff, and a superuser who is on leave."""
    return [
        factories.person("ana@example.com", factories.conta()),
        factories.person("colega@example.com", is_staff=True),
        factories.person("chefe@example.com", is_superuser=True, is_active=False),
    ]


def power() -> Any:
    """Everything that gives anybody power, and what could be a way to it."""
    everybody = User.objects.order_by("pk")
    rights = {
        user.pk: (sorted(user.get_user_permissions()), sorted(user.groups.values_list("name")))
        for user in everybody
    }
    powerful = everybody.exclude(is_staff=False, is_superuser=False)
    return (
        {pk: given for pk, given in rights.items() if any(given)},
        list(powerful.values_list("pk", "is_staff", "is_superuser", "email", "password", "is_active")),
        sorted(Group.objects.values_list("name", "permissions__codename")),
        sorted(
            ContaMembership.objects.filter(user__in=powerful).values_list(
                "user", "conta", "role", "is_active"
            )
        ),
    )


def grants(model: type[Model], name: str) -> bool:
    """Return whether a field gives rights."""
    field = next((f for f in model._meta.get_fields() if f.name == name), None)
    return (model is User and name in FLAGS) or getattr(field, "related_model", None) in (Permission, Group)


def granting_fields(model_admin: Any, request: Any, obj: Any) -> Iterator[str]:
    """Yield the fields of a page that give rights."""
    form = model_admin.get_form(request, obj, change=obj is not None)
    yield from (name for name in form.base_fields if grants(model_admin.model, name))
    for formset, inline in model_admin.get_formsets_with_inlines(request, obj):
        yield from (name for name in formset.form.base_fields if grants(inline.model, name))
    yield from (name for name in model_admin.list_editable if grants(model_admin.model, name))


@pytest.mark.usefixtures("people")
def test_no_page_that_staff_may_use_has_a_field_that_gives_rights(staff: User) -> None:
    request = RequestFactory().get("/")
    request.user = staff
    found = {
        f"{model.__name__}.{name} of {obj}"
        for model, model_admin in admin.site._registry.items()
        for obj in [None, *model._default_manager.all()]
        if (
            model_admin.has_change_permission(request, obj)
            if obj
            else model_admin.has_add_permission(request)
        )
        for name in granting_fields(model_admin, request, obj)
    }
    assert found == set()


@pytest.mark.usefixtures("people")
def test_the_same_look_finds_the_pages_of_superusers() -> None:
    request = RequestFactory().get("/")
    request.user = User.objects.create_superuser("root@example.com")
    found = {
        f"{model.__name__}.{name}"
        for model, model_admin in admin.site._registry.items()
        for obj in [None, *model._default_manager.all()]
        for name in granting_fields(model_admin, request, obj)
    }
    given = {
        "User.is_staff",
        "User.is_superuser",
        "User.groups",
        "User.user_permissions",
        "Group.permissions",
    }
    assert found == given


def pages_of_power() -> Iterator[str]:
    """Yield the addresses that could change what gives power."""
    for model in (User, Group, Conta):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_add")
        for obj in model._default_manager.all():
            yield from (reverse(f"{name}_{page}", args=[obj.pk]) for page in ("change", "delete"))
    yield from (reverse("admin:auth_user_password_change", args=[user.pk]) for user in User.objects.all())


def everything(shown: dict[str, list[str]], me: User) -> dict[str, Any]:
    """Return a page's form with all that would give power."""
    rights = [str(pk) for pk in Permission.objects.values_list("pk", flat=True)]
    wanted = {
        **dict.fromkeys(FLAGS, "on"),
        "groups": [str(pk) for pk in Group.objects.values_list("pk", flat=True)],
        "user_permissions": rights,
        "permissions": rights,
        "email": shown.get("email", me.email),
        "name": shown.get("name", ["Novo"]),
        "post": "yes",
        **dict.fromkeys(
            ("password1", "password2", "new_password1", "new_password2"), "uma senha bem comprida 43"
        ),
        "usable_password": "true",
        "is_active": "on",
    }
    row = {
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "0",
        "memberships-0-user": str(me.pk),
        "memberships-0-conta": str(Conta.objects.values_list("pk", flat=True).first() or ""),
        "memberships-0-role": "admin",
        "memberships-0-is_active": "on",
    }
    return {**shown, **row, **wanted}


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("query", ["", "?_popup=1", "?_to_field=id", "?is_superuser=on&is_staff=on"])
def test_whatever_staff_send_to_a_page_nobody_has_more_power(client: Client, staff: User, query: str) -> None:
    root, before = superuser(), power()
    for address in pages_of_power():
        shown = form_of(root.get(address).text)
        response = client.post(address + query, everything(shown, staff))
        assert response.status_code < 500, address
        assert power() == before, address


@pytest.mark.parametrize("extra", [{}, {"_saveasnew": "1"}])
def test_staff_neither_make_nor_change_nor_delete_groups_and_see_them(
    client: Client, staff: User, extra: dict[str, str]
) -> None:
    group = staff.groups.get()
    form = {"name": "Plantão", "permissions": [p.pk for p in Permission.objects.all()], **extra}
    change, add = reverse("admin:auth_group_change", args=[group.pk]), reverse("admin:auth_group_add")
    listed = reverse("admin:auth_group_changelist")
    assert client.get(change).status_code == client.get(listed).status_code == 200
    for address in (change, add, reverse("admin:auth_group_delete", args=[group.pk])):
        assert client.post(address, {**form, "post": "yes"}).status_code in ((400, 403) if extra else (403,))
    chosen = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
    client.post(listed, chosen)
    assert Group.objects.filter(pk=group.pk).exists()
    assert not group.permissions.exists()


def test_superusers_make_groups(client: Client) -> None:
    root, right = superuser(), Permission.objects.first()
    assert right is not None
    form = {"name": "Leitura", "permissions": [right.pk]}
    assert root.post(reverse("admin:auth_group_add"), form).status_code == 302
    assert list(Group.objects.get(name="Leitura").permissions.all()) == [right]


def test_of_the_people_chosen_in_the_list_staff_delete_none_who_has_power(
    client: Client, people: list[User]
) -> None:
    chosen = {"action": "delete_selected", "_selected_action": [p.pk for p in people], "post": "yes"}
    client.post(reverse("admin:tds_new_user_changelist"), chosen)
    assert User.objects.filter(pk__in=[p.pk for p in people]).count() == 3


def members(conta: Conta, *rows: dict[str, Any], stored: int = 0) -> dict[str, Any]:
    """Return the form of a Conta's page with these rows of people."""
    form = {"name": conta.name, "cnpj": "", "timezone": conta.timezone, "is_active": "on"}
    form |= {"memberships-TOTAL_FORMS": str(len(rows)), "memberships-INITIAL_FORMS": str(stored)}
    for number, row in enumerate(rows):
        form |= {f"memberships-{number}-{name}": value for name, value in row.items()}
    return form


@pytest.mark.parametrize("superior", [False, True])
def test_contas_of_staff_are_given_changed_and_taken_by_superusers_on_a_contas_page(
    client: Client, staff: User, superior: bool
) -> None:
    conta = factories.conta("Alheia")
    address = reverse("admin:tds_new_conta_change", args=[conta.pk])
    sender = superuser() if superior else client
    row = {"id": "", "conta": conta.pk, "user": staff.pk, "role": "viewer", "is_active": "on"}
    refused = sender.post(address, members(conta, row))
    assert staff.contas.filter(pk=conta.pk).exists() is superior
    if not superior:
        assert "Só superusuários mudam as contas" in refused.text
    stored, _made = ContaMembership.objects.get_or_create(conta=conta, user=staff)
    for change in (
        {"role": "admin"},
        {"user": factories.person(f"outra{superior}@example.com").pk},
        {"DELETE": "on"},
    ):
        sender.post(address, members(conta, {**row, "id": stored.pk, **change}, stored=1))
        now = ContaMembership.objects.filter(pk=stored.pk, user=staff, role="viewer").exists()
        assert now is not superior
        if superior and "DELETE" not in change:
            ContaMembership.objects.filter(pk=stored.pk).update(user=staff, role="viewer")


def test_staff_give_contas_to_everybody_else_on_either_page(client: Client, people: list[User]) -> None:
    conta, ana = factories.conta("Outra"), people[0]
    row = {"id": "", "conta": conta.pk, "user": ana.pk, "role": "admin", "is_active": "on"}
    assert (
        client.post(reverse("admin:tds_new_conta_change", args=[conta.pk]), members(conta, row)).status_code
        == 302
    )
    assert ana.contas.filter(pk=conta.pk).exists()
    third, stored = factories.conta("Terceira"), ContaMembership.objects.filter(user=ana).order_by("pk")
    form = {
        "email": ana.email,
        "name": "",
        "is_active": "on",
        "memberships-TOTAL_FORMS": 3,
        "memberships-INITIAL_FORMS": 2,
    }
    rows = [
        {"id": m.pk, "user": ana.pk, "conta": m.conta_id, "role": m.role, "is_active": "on"} for m in stored
    ]
    for number, each in enumerate([*rows, {**row, "conta": third.pk}]):
        form |= {f"memberships-{number}-{name}": value for name, value in each.items()}
    assert client.post(reverse("admin:tds_new_user_change", args=[ana.pk]), form).status_code == 302
    assert ana.contas.filter(pk=third.pk).exists()


def test_the_way_to_the_value_of_a_conflict_takes_the_right_to_see_messages() -> None:
    message = MensagemRejeitada.objects.create(topico="a", payload=b"", motivo=Motivo.CONFLITO)
    address = reverse("admin:tds_new_mensagemrejeitada_use", args=[message.pk])
    nobody = Client()
    nobody.force_login(factories.person("nada@example.com", is_staff=True))
    assert nobody.get(address).status_code == 403
    assert superuser().get(address).status_code == 302
