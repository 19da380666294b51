"""The one way to check a password, for every page that asks for one."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from tds_new.models import User
from tds_new.web.client_ip import client_ip
from tds_new.web.login.devices import token_of
from tds_new.web.login.hashing import TURN
from tds_new.web.login.limits import Attempt


class LimitedBackend(ModelBackend):
    """Checks passwords within the limits.

    First it looks at the counters, then takes a turn at hashing, then makes the hash. A refused try costs a
    look at the counters, and no hash. One that gets no turn is not counted, and costs nothing.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the person; None if the password is wrong or nobody may log in with it.

        Raises LoginRefusedError and HashingBusyError.
        """
        email = kwargs.get("email") if username is None else username
        if email is None or password is None:
            return None
        TURN.refuse_if_full()
        attempt = Attempt(email, client_ip(request) if request else "", token_of(request))
        attempt.look()
        with TURN.taken():
            attempt.count()
            person = super().authenticate(request, username=attempt.email, password=password)
        if person is not None:
            attempt.succeeded(person)
        return person
