"""How often a password may be tried, through every page that asks for one."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher, get_hasher
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tds_new.models import RedeConhecida, TentativaEntrada, User
from tds_new.models.user import canonical_email
from tds_new.web.login import devices, limits, refusals
from tests.support import factories
from tests.support.meters import superuser, url

pytestmark = pytest.mark.django_db
WRONG = "errada"
HERE, ELSEWHERE = "203.0.113.7", "198.51.100.9"
ANA = "ana@example.com"
SPELLINGS = (
    *("ana@example.com", "ANA@example.com", " ana@example.com", "ana@example.com\u3000", "Ana@EXAMPLE.com"),
    *(
        "\uff41na@example.com",
        "\uff21\uff2e\uff21@example.com",
        "ana\uff20example.com",
        "\u00a0ana@example.com",
    ),
)


class Clock:
    """The time that the limits see; it stands still until it is moved."""

    def __init__(self) -> None:
        self.time = timezone.now()

    def __call__(self) -> datetime:
        return self.time

    def move(self, **time: float) -> None:
        self.time += timedelta(**time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "now", clock)
    return clock


@pytest.fixture
def ana() -> User:
    return factories.person(ANA, factories.conta())


def attempt(email: str = ANA, password: str = WRONG, address: str = HERE) -> Any:
    """Send the login page's form from an address, as a browser without cookies does."""
    return Client(REMOTE_ADDR=address).post(reverse("login"), {"username": email, "password": password})


def enter(email: str = ANA, address: str = HERE) -> int:
    """Log in with the right password and return the status: 302 is in."""
    return int(attempt(email, factories.PASSWORD, address).status_code)


def tried(email: str = ANA, address: str = HERE) -> bool:
    """Try a wrong password without the cost of a page; False if it was refused."""
    try:
        attempt = limits.Attempt(email, address)
        attempt.look()
        attempt.count()
    except limits.LoginRefusedError:
        return False
    return True


def statuses(count: int, *args: str) -> list[int]:
    return [attempt(*args).status_code for _ in range(count)]


class TestSpelling:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_each_spelling_is_the_same_person(self, ana: User, spelling: str) -> None:
        assert User.objects.get_by_natural_key(spelling) == ana
        assert attempt(spelling, factories.PASSWORD).status_code == 302

    def test_the_limit_is_one_for_all_spellings(self, ana: User, clock: Clock) -> None:
        answers = [attempt(SPELLINGS[n % len(SPELLINGS)]).status_code for n in range(27)]
        assert answers == [200] * 5 + [429] * 22
        assert [enter(spelling) for spelling in SPELLINGS] == [429] * len(SPELLINGS)

    @given(st.text(max_size=30))
    def test_the_canonical_form_is_final(self, text: str) -> None:
        assert canonical_email(canonical_email(text)) == canonical_email(text)

    def test_an_address_is_stored_in_the_form_in_which_it_is_looked_up(self) -> None:
        person = User.objects.create_user(" \uff21na@Example.com\u00a0", factories.PASSWORD)
        assert person.email == ANA
        assert User.objects.get_by_natural_key("\uff41NA@example.com") == person


class TestDoors:
    """Each page and function that takes a password counts with the same counters."""

    def test_the_admins_login_is_the_login_page_and_looks_at_no_password(self, ana: User) -> None:
        User.objects.update(is_staff=True)
        client = Client()
        target = url("conta", "changelist")
        for answer in (
            client.get(target, follow=True),
            client.get(reverse("admin:login"), {"next": target}, follow=True),
            client.post(
                reverse("admin:login"),
                {"username": ANA, "password": factories.PASSWORD, "next": target},
                follow=True,
            ),
        ):
            assert answer.redirect_chain[-1][0].startswith(f"{reverse('login')}?next=")
            assert f'name="next" value="{target}"' in answer.text
        assert "_auth_user_id" not in client.session
        assert not TentativaEntrada.objects.exists()
        form = {"username": ANA, "password": factories.PASSWORD, "next": target}
        assert client.post(reverse("login"), form).url == target  # type: ignore[attr-defined]
        assert client.get(reverse("admin:login")).url == reverse("admin:index")  # type: ignore[attr-defined]

    def test_people_without_access_to_the_admin_are_told_so_and_not_sent_in_a_circle(self, ana: User) -> None:
        client = Client()
        client.force_login(ana)
        answer = client.get(reverse("admin:index"), follow=True)
        assert answer.status_code == 403
        assert len(answer.redirect_chain) == 1

    def test_leaving_the_admin_is_leaving_the_platform(self, ana: User) -> None:
        client = superuser()
        assert client.get(reverse("admin:logout")).status_code == 405
        assert client.post(reverse("admin:logout")).url == reverse("login")  # type: ignore[attr-defined]
        assert client.get(reverse("admin:index")).status_code == 302

    def test_the_old_password_is_counted_with_the_logins(self, clock: Clock) -> None:
        client = superuser()
        root = User.objects.get()
        page = reverse("admin:password_change")

        def change(old: str) -> Any:
            new = "outra senha comprida 43"
            return client.post(
                page, {"old_password": old, "new_password1": new, "new_password2": new}, REMOTE_ADDR=HERE
            )

        assert attempt(root.email).status_code == 200
        wrong = [change("errada") for _ in range(4)]
        assert [answer.status_code for answer in wrong] == [200] * 4
        assert all("old_password" in answer.context["form"].errors for answer in wrong)
        assert change("errada").status_code == 429
        assert attempt(root.email).status_code == 429
        clock.move(minutes=16)
        root.set_password(factories.PASSWORD)
        root.save()
        client.force_login(root)
        assert change(factories.PASSWORD).status_code == 302
        root.refresh_from_db()
        assert root.check_password("outra senha comprida 43")

    def test_code_that_authenticates_without_a_page_is_limited_too(self, ana: User, clock: Clock) -> None:
        request = RequestFactory().post("/", REMOTE_ADDR=HERE)
        for _ in range(5):
            assert authenticate(request, username=ANA, password="errada") is None
        with pytest.raises(limits.LoginRefusedError):
            authenticate(request, email=ANA, password=factories.PASSWORD)
        assert attempt().status_code == 429

    def test_there_is_no_second_way_to_check_a_password(self, settings: Any) -> None:
        assert settings.AUTHENTICATION_BACKENDS == ["tds_new.web.login.backend.LimitedBackend"]


class TestPersonAndNetwork:
    def test_five_failures_and_then_not_even_the_right_password(self, ana: User, clock: Clock) -> None:
        assert statuses(5) == [200] * 5
        assert enter() == 429
        assert enter(address=ELSEWHERE) == 429  # a slot of 30 seconds
        clock.move(seconds=31)
        assert enter(address=ELSEWHERE) == 302
        clock.move(minutes=14)
        assert enter() == 429
        clock.move(seconds=31)
        assert enter() == 302

    def test_refused_tries_do_not_make_it_longer(self, ana: User, clock: Clock) -> None:
        statuses(5)
        for _ in range(15):
            assert attempt().status_code == 429
            clock.move(minutes=1)
        assert enter() == 302

    def test_a_network_of_ipv6_is_a_64(self, ana: User, clock: Clock) -> None:
        tries = [attempt(address=f"2001:db8:1:2:{n:x}::{n:x}").status_code for n in range(1, 8)]
        assert tries == [200] * 5 + [429] * 2
        clock.move(minutes=2)
        assert attempt(address="2001:db8:1:3::1").status_code == 200

    def test_an_address_of_ipv4_is_the_same_in_ipv6(self, ana: User, clock: Clock) -> None:
        assert statuses(5, ANA, "errada", f"::ffff:{HERE}") == [200] * 5
        assert attempt()["Retry-After"] == "900"  # not the slot of 30 seconds of another network

    def test_success_forgets_the_failures(self, ana: User, clock: Clock) -> None:
        for _ in range(4):
            assert statuses(4) == [200] * 4
            assert enter() == 302

    def test_success_leaves_no_failure_behind(self, ana: User, clock: Clock) -> None:
        assert enter() == 302
        assert enter(address=ELSEWHERE) == 302
        assert not TentativaEntrada.objects.exists()

    def test_people_behind_one_address_are_counted_apart(self, ana: User, clock: Clock) -> None:
        factories.person("bia@example.com")
        statuses(6)
        assert enter("bia@example.com") == 302


class TestNetwork:
    def test_fifty_failures_over_many_people_within_an_hour(self, ana: User, clock: Clock) -> None:
        answers = []
        for n in range(52):
            answers.append(tried(f"p{n}@example.com"))
            clock.move(seconds=60)
        assert answers == [True] * 50 + [False] * 2
        assert enter() == 429
        assert enter(address=ELSEWHERE) == 302
        clock.move(minutes=58)
        assert enter() == 302

    def test_success_does_not_forget_the_networks_failures(self, ana: User, clock: Clock) -> None:
        factories.person("mallory@example.com")
        for n in range(50):
            tried(f"p{n}@example.com")
            if n % 10 == 0:
                assert enter("mallory@example.com") == 302
        assert enter() == 429

    def test_failures_of_an_earlier_hour_do_not_count(self, ana: User, clock: Clock) -> None:
        for n in range(49):
            tried(f"p{n}@example.com")
        clock.move(minutes=61)
        assert attempt("q@example.com").status_code == 200
        assert attempt("r@example.com").status_code == 200

    def test_people_who_logged_in_from_there_are_not_refused(self, ana: User, clock: Clock) -> None:
        assert enter() == 302
        for n in range(50):
            tried(f"p{n}@example.com")
        assert attempt("q@example.com").status_code == 429
        assert enter() == 302


class TestPerson:
    def test_one_try_in_thirty_seconds_over_all_networks(self, ana: User, clock: Clock) -> None:
        attempt(address="192.0.2.1")
        count = 0
        for second in range(0, 600, 5):
            count += tried(address=f"100.{second % 250}.{second // 250}.1")
            clock.move(seconds=5)
        assert count == 19

    def test_a_network_alone_has_its_five_tries(self, ana: User, clock: Clock) -> None:
        assert statuses(4) == [200] * 4
        assert enter() == 302

    def test_nobody_is_kept_out_of_a_known_network(self, ana: User, clock: Clock) -> None:
        assert enter() == 302
        for second in range(30):
            tried(address=f"100.{second}.0.1")
            clock.move(seconds=10)
            assert enter() == 302

    def test_a_network_is_known_for_thirty_days(self, ana: User, clock: Clock) -> None:
        assert enter() == 302
        clock.move(days=29)
        attempt(address=ELSEWHERE)
        assert enter() == 302
        clock.move(days=31)
        attempt(address=ELSEWHERE)
        assert enter() == 429

    def test_an_attacker_with_many_networks_does_not_keep_the_person_out_of_a_new_one(
        self, ana: User, clock: Clock
    ) -> None:
        """Eight networks ask every five seconds, each time before the person does."""
        attackers = [f"100.{n}.0.1" for n in range(8)]
        victim, waited = "192.0.2.77", 0
        for tick in range(200):  # of five seconds
            for address in attackers[tick % 8 :] + attackers[: tick % 8]:
                tried(address=address)
            if tick >= 100:  # the attack has lasted for a while
                waited += 5
                if enter(address=victim) == 302:
                    break
            clock.move(seconds=5)
        else:
            pytest.fail("the person never got in")
        assert waited <= 60

    def test_neighbours_of_a_network_that_failed_are_behind_fresh_ones(self, ana: User, clock: Clock) -> None:
        attempt(address="2001:db8:1:1::1")
        clock.move(seconds=31)
        assert attempt(address="2001:db8:1:2::1").status_code == 429  # the same /48
        assert attempt(address="2001:db8:2:1::1").status_code == 200
        clock.move(seconds=45)
        assert attempt(address="2001:db8:1:2::1").status_code == 429
        clock.move(seconds=16)
        assert attempt(address="2001:db8:1:2::1").status_code == 200


class TestDevice:
    """A browser with which somebody has logged in is not kept out by others."""

    @pytest.fixture
    def browser(self, ana: User, clock: Clock) -> Client:
        browser = Client(REMOTE_ADDR=HERE)
        assert self.send(browser) == 302
        browser.post(reverse("logout"))
        return browser

    def send(self, browser: Client, password: str = factories.PASSWORD, email: str = ANA) -> int:
        return browser.post(reverse("login"), {"username": email, "password": password}).status_code

    def test_not_by_somebody_in_the_same_network(self, browser: Client) -> None:
        statuses(5)
        for n in range(50):
            tried(f"p{n}@example.com")
        assert enter() == 429
        assert self.send(browser) == 302

    def test_not_in_a_new_network(self, browser: Client) -> None:
        browser.defaults["REMOTE_ADDR"] = "192.0.2.1"
        attempt(address=ELSEWHERE)
        assert enter(address="192.0.2.1") == 429
        assert self.send(browser) == 302

    def test_it_has_five_tries_itself_wherever_it_is(self, browser: Client) -> None:
        answers = []
        for n in range(7):
            browser.defaults["REMOTE_ADDR"] = f"192.0.2.{n}"
            answers.append(self.send(browser, WRONG))
        assert answers == [200] * 5 + [429] * 2

    def test_it_is_nothing_for_other_people(self, browser: Client) -> None:
        factories.person("bia@example.com")
        statuses(5, "bia@example.com")
        assert self.send(browser, email="bia@example.com") == 429

    @pytest.mark.parametrize("token", ["", "1:x", "1:x:1wL:abc"])
    def test_it_cannot_be_made_up(self, browser: Client, token: str) -> None:
        statuses(5)
        browser.cookies["aparelho"] = token
        assert self.send(browser) == 429

    def test_it_is_known_for_thirty_days(self, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        later = timezone.now().timestamp() + devices.KNOWN_FOR_S + 60
        statuses(5)
        monkeypatch.setattr("django.core.signing.time.time", lambda: later)
        assert self.send(browser) == 429


class TestUnknownPeople:
    def test_they_get_the_same_answers_at_the_same_time(self, ana: User, clock: Clock) -> None:
        def answers(email: str) -> list[tuple[int, str]]:
            found = [attempt(email) for _ in range(7)]
            found += [attempt(email, address=ELSEWHERE)]
            clock.move(seconds=31)
            found += [attempt(email, address=ELSEWHERE), attempt(email)]
            return [
                (answer.status_code, " ".join(answer.text.split("<h1>")[1].split("</section>")[0].split()))
                for answer in found
            ]

        known = answers(ANA)
        unknown = answers("quem@example.com")
        same = [(status, text.replace("quem@", "ana@")) for status, text in unknown]
        assert [status for status, _ in known] == [200] * 5 + [429] * 3 + [200, 429]
        assert [s for s in same if "csrf" not in s[1]] == [k for k in known if "csrf" not in k[1]]

    def test_they_cost_the_same_statements_and_one_hash(
        self, ana: User, clock: Clock, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
    ) -> None:
        factories.person("inativa@example.com", is_active=False)
        User.objects.create_user("sem-senha@example.com")
        hashes: list[str] = []

        def count(password: str, salt: str) -> str:
            hashes.append(password)
            return MD5PasswordHasher.encode(get_hasher(), password, salt)

        monkeypatch.setattr(get_hasher(), "encode", count)
        for email in (ANA, "quem@example.com", "inativa@example.com", "sem-senha@example.com"):
            request = RequestFactory().post("/", REMOTE_ADDR=HERE)
            hashes.clear()
            with django_assert_num_queries(8):
                assert authenticate(request, username=email, password=WRONG) is None
            assert len(hashes) == 1

    def test_they_add_a_bounded_number_of_rows_and_no_text(self, clock: Clock) -> None:
        for n in range(120):
            tried(f"segredo{n}@example.com", address=f"2001:db8:{n}::1")
        assert TentativaEntrada.objects.count() == 120 * 4
        assert not TentativaEntrada.objects.exclude(usuario=None).exists()
        assert "segredo" not in str(list(TentativaEntrada.objects.values()))
        clock.move(hours=25)
        for n in range(30):
            tried(f"novo{n}@example.com", address=f"2001:db8:{n}:1::1")
        assert TentativaEntrada.objects.count() <= 30 * 4
        assert not TentativaEntrada.objects.filter(expira_em__lte=clock.time).exists()

    def test_refused_tries_write_nothing(self, ana: User, clock: Clock) -> None:
        statuses(5)
        before = list(TentativaEntrada.objects.order_by("pk").values())
        statuses(50)
        assert list(TentativaEntrada.objects.order_by("pk").values()) == before
        assert len(before) == 4


@pytest.mark.django_db(transaction=True)
class TestParallel:
    def run(self, count: int, address: Callable[[int], str]) -> list[bool]:
        answers: list[bool] = []
        barrier = threading.Barrier(count)

        def one(n: int) -> None:
            barrier.wait()
            try:
                answers.append(tried(address=address(n)))
            finally:
                connection.close()

        threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    @pytest.mark.parametrize("known", [True, False])
    def test_parallel_tries_from_a_network_do_not_pass_the_limit(self, known: bool) -> None:
        if known:
            factories.person(ANA)
        answers = self.run(36, lambda _: HERE)
        assert sorted(answers) == [False] * 31 + [True] * 5

    def test_parallel_tries_from_many_networks_get_one_slot(self) -> None:
        factories.person(ANA)
        answers = self.run(36, lambda n: f"100.{n}.0.1")
        assert sorted(answers) == [False] * 35 + [True]


class TestWords:
    def test_the_page_says_why_and_how_long(self, ana: User, clock: Clock) -> None:
        attempt()
        slot = attempt(address=ELSEWHERE)
        assert slot["Retry-After"] == "30"
        assert "Há tentativas demais com este e-mail, de vários lugares. Espere 30 segundos" in slot.text
        statuses(4)
        clock.move(minutes=4)
        locked = attempt()
        assert (locked.status_code, locked["Retry-After"]) == (429, "660")
        assert "com este e-mail a partir desta rede. Espere 11 minutos e tente de novo" in locked.text
        assert "nem a senha certa entra" in locked.text
        assert "no-store" in locked["Cache-Control"]
        for n in range(45):
            tried(f"p{n}@example.com")
        assert "demais a partir desta rede. Espere 60 minutos" in attempt("novo@example.com").text

    def test_the_log_counts_refusals_in_one_line_for_many(
        self, ana: User, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seconds = iter([*[0.0] * 2, *[5.0] * 39, *[11.0] * 9])
        monkeypatch.setattr(refusals, "LOG", refusals.RefusalLog())
        monkeypatch.setattr(refusals.time, "monotonic", lambda: next(seconds))
        statuses(5)
        statuses(41)
        lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
        assert lines == [
            f"logins refused: pessoa_e_rede 1; the last one from {HERE}/32",
            f"logins refused: pessoa_e_rede 40; the last one from {HERE}/32",
        ]
        assert not [r for r in caplog.records if r.name == "django.request" and "429" in str(r.args)]
        assert ANA not in caplog.text
        assert "errada" not in caplog.text


class TestRelease:
    @pytest.fixture(autouse=True)
    def locked(self, ana: User, clock: Clock) -> Iterator[None]:
        statuses(5)
        assert enter() == 429
        return

    def test_the_command_releases_a_person(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("allow_login", "ANA@example.com")
        assert capsys.readouterr().out == "[OK] 3 counters of failed logins are gone\n"
        assert enter() == 302

    def test_the_command_makes_a_network_the_persons_own(self) -> None:
        attempt(address="192.0.2.1")
        assert enter(address=ELSEWHERE) == 429
        call_command("allow_login", ANA, network=ELSEWHERE)
        attempt(address="192.0.2.1")
        assert RedeConhecida.objects.get().rede == f"{ELSEWHERE}/32"
        assert enter(address=ELSEWHERE) == 302

    def test_the_command_releases_a_network(self, clock: Clock) -> None:
        for n in range(50):
            tried(f"p{n}@example.com", address=ELSEWHERE)
        clock.move(seconds=31)
        assert enter(address=ELSEWHERE) == 429
        call_command("allow_login", network=ELSEWHERE)
        assert enter(address=ELSEWHERE) == 302

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "name a person"),
            ({"email": "quem@example.com"}, "nobody has the address quem@example.com"),
            ({"network": "lá"}, "does not appear to be"),
        ],
    )
    def test_the_command_says_what_is_wrong(self, arguments: dict[str, str], words: str) -> None:
        with pytest.raises(CommandError, match=words):
            call_command("allow_login", **arguments)

    def test_the_admin_lists_what_counts_and_releases_it(self, ana: User, clock: Clock) -> None:
        root = superuser()
        page = root.get(url("tentativaentrada", "changelist"))
        assert page.text.count(f">{ANA}<") == 3
        assert f"{HERE}/32" in page.text
        assert root.get(url("tentativaentrada", "add")).status_code == 403
        chosen = [str(pk) for pk in TentativaEntrada.objects.filter(usuario=ana).values_list("pk", flat=True)]
        action = {"action": "release", "_selected_action": chosen}
        answer = root.post(url("tentativaentrada", "changelist"), action, follow=True)
        assert "3 contagens apagadas" in answer.text
        assert enter() == 302

    def test_staff_without_the_right_release_nobody(self, ana: User) -> None:
        staff = factories.person("staff@example.com", is_staff=True)
        staff.user_permissions.set(Permission.objects.filter(codename="view_tentativaentrada"))
        client = Client()
        client.force_login(staff)
        assert client.get(url("tentativaentrada", "changelist")).status_code == 200
        chosen = [str(pk) for pk in TentativaEntrada.objects.values_list("pk", flat=True)]
        for action in ("release", "delete_selected"):
            client.post(
                url("tentativaentrada", "changelist"),
                {"action": action, "_selected_action": chosen, "post": "yes"},
            )
        assert TentativaEntrada.objects.count() == 4
