"""Password hashes are bounded in number; whoever gets no turn is told to come back."""

import os
import threading
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.test import Client
from django.urls import reverse

from tds_new.models import TentativaEntrada, User
from tds_new.web.login import hashing
from tds_new.web.login.hashing import HashingBusyError, Turn
from tests.support import factories
from tests.support.meters import superuser


@pytest.fixture
def real_hashers(settings: Any) -> None:
    settings.PASSWORD_HASHERS = [
        "tds_new.web.login.hashing.Argon2InTurn",
        "tds_new.web.login.hashing.PBKDF2InTurn",
    ]


class Holder:
    """Threads that take a turn, and keep it until they are let go."""

    def __init__(self, turn: Turn) -> None:
        self.turn, self.release, self.working = turn, threading.Event(), threading.Event()
        self.threads: list[threading.Thread] = []

    def hold(self) -> None:
        with self.turn.taken():
            self.working.set()
            self.release.wait(30)

    def start(self) -> None:
        thread = threading.Thread(target=self.hold)
        self.threads.append(thread)
        thread.start()

    def __enter__(self) -> "Holder":
        self.start()
        assert self.working.wait(30)
        return self

    def __exit__(self, *_error: object) -> None:
        self.release.set()
        for thread in self.threads:
            thread.join()


def test_one_works_one_waits_and_further_ones_are_refused_at_once() -> None:
    turn = Turn(waiting=1, longest_wait_s=30)
    with Holder(turn) as holder:
        turn.refuse_if_full()
        holder.start()
        while turn._places._value:  # type: ignore[attr-defined]
            pass
        with pytest.raises(HashingBusyError):
            turn.refuse_if_full()
        with pytest.raises(HashingBusyError), turn.taken():
            pytest.fail("no turn was free")
    with turn.taken():
        turn.refuse_if_full()


def test_nobody_waits_for_long() -> None:
    turn = Turn(waiting=1, longest_wait_s=0.05)
    with Holder(turn), pytest.raises(HashingBusyError), turn.taken():
        pytest.fail("no turn was free")
    with turn.taken(), turn.taken():  # a thread that has the turn keeps it
        pass


def test_a_turn_ends_with_an_error() -> None:
    turn = Turn(waiting=0)
    with pytest.raises(ZeroDivisionError), turn.taken():
        raise ZeroDivisionError
    with turn.taken():
        pass


@pytest.mark.parametrize("algorithm", ["argon2", "pbkdf2_sha256"])
def test_every_hash_takes_its_turn(
    real_hashers: None, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = make_password("segredo", hasher=algorithm)
    assert check_password("segredo", encoded)
    assert not check_password("outro", encoded)
    monkeypatch.setattr(hashing, "TURN", turn := Turn(waiting=0))
    with Holder(turn):
        for work in (
            lambda: make_password("segredo", hasher=algorithm),
            lambda: check_password("segredo", encoded),
            lambda: check_password("segredo", "!"),  # nobody's: the same work
        ):
            with pytest.raises(HashingBusyError):
                work()


def test_hashes_of_before_are_still_right(real_hashers: None) -> None:
    before = Argon2PasswordHasher()
    encoded = before.encode("segredo", before.salt())
    assert check_password("segredo", encoded)
    assert hashing.Argon2InTurn().must_update(encoded) is False


def test_hashes_run_in_one_thread_of_low_priority() -> None:
    found = {hashing.in_turn(lambda: (threading.get_native_id(), _priority())) for _ in range(3)}
    [(thread, priority)] = found
    assert thread != threading.get_native_id()
    assert priority == min(_priority() + hashing.NICENESS, 19)


def _priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.django_db
class TestPages:
    @pytest.fixture(autouse=True)
    def turn(self, monkeypatch: pytest.MonkeyPatch) -> Turn:
        turn = Turn(waiting=0)
        monkeypatch.setattr(hashing, "TURN", turn)
        monkeypatch.setattr("tds_new.web.login.backend.TURN", turn)
        return turn

    def test_a_login_without_a_turn_is_told_so_and_not_counted(self, turn: Turn) -> None:
        factories.person("ana@example.com")
        form = {"username": "ana@example.com", "password": factories.PASSWORD}
        with Holder(turn):
            answer = Client().post(reverse("login"), form)
        assert (answer.status_code, answer["Retry-After"]) == (503, "3")
        assert "Muitas pessoas estão entrando ao mesmo tempo" in answer.text
        assert not TentativaEntrada.objects.exists()
        assert Client().post(reverse("login"), form).status_code == 302

    def test_who_is_refused_is_told_so_without_a_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tds_new.web.login.backend.TURN", turn := Turn(waiting=1, longest_wait_s=0.01))
        form = {"username": "ana@example.com", "password": "errada"}
        answers = [Client().post(reverse("login"), form).status_code for _ in range(5)]
        with Holder(turn):
            answers.append(Client().post(reverse("login"), form).status_code)
            other = Client().post(reverse("login"), {**form, "username": "bia@example.com"})
        assert answers == [200] * 5 + [429]
        assert other.status_code == 503

    def test_so_is_staff_who_sets_a_password(self, turn: Turn, real_hashers: None) -> None:
        root = superuser()
        page = reverse("admin:auth_user_password_change", args=[User.objects.get().pk])
        form = {"password1": "outra senha comprida 43", "password2": "outra senha comprida 43"}
        with Holder(turn):
            answer = root.post(page, {"usable_password": "true", **form})
        assert answer.status_code == 503
