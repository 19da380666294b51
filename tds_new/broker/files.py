"""Write the broker's files, each complete or not at all.

They are ``passwords``, ``acl``, ``restrictions.json``, ``conf.d/websockets.conf``, ``share_group`` and
``secrets/<user>``.
"""

import os
import secrets
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tds_new.broker.accounts import PLATFORM_USERS, GatewayAccount, acl_text, opens, password_line
from tds_new.broker.listeners import WEBSOCKET_PORT, websocket_listener
from tds_new.broker.restrictions import restricted_users, restrictions_text

SECRET_BYTES = 24  # 192 bits


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The outcome of :meth:`BrokerFiles.provision`.

    ``created`` are the users with a new secret, ``removed`` the users that were taken out; ``changed`` says
    whether the broker must read its files again, ``restart`` whether it must be started again for that.
    """

    created: tuple[str, ...]
    removed: tuple[str, ...]
    changed: bool
    restart: bool


class WrongPasswordError(Exception):
    """The user is in the file with another password, or with a hash of another kind."""


class BrokerFiles:
    """The broker's files in one directory.

    ``owner`` is the user id that the broker runs as; None if it is that of this process.
    """

    def __init__(self, directory: Path, owner: int | None = None) -> None:
        self.directory = directory
        self.passwords = directory / "passwords"
        self.acl = directory / "acl"
        self.restrictions = directory / "restrictions.json"
        self.listeners = directory / "conf.d"
        self.share_group = directory / "share_group"
        self.secrets = directory / "secrets"
        self._owner = owner

    def secret(self, user: str) -> str:
        """Return the password of ``user``. Raises FileNotFoundError if there is none."""
        return (self.secrets / user).read_text(encoding="ascii").strip()

    def provision(
        self,
        prefix: str,
        gateways: Sequence[GatewayAccount],
        rotate: Collection[str] = (),
        *,
        websockets: bool = False,
    ) -> Provisioned:
        """Write the files for the platform's users and ``gateways``.

        Secrets that exist are kept.

        prefix: what all topics begin with
        gateways: who gets an account, besides the platform's users
        rotate: the users who get a new secret
        websockets: whether the broker listens for WebSockets too

        Raises ValueError if ``rotate`` names an unknown user, or a gateway's MAC or ``device_id`` cannot be
        part of a rule.
        """
        users = [*PLATFORM_USERS, *(gateway.user for gateway in gateways)]
        if unknown := sorted(set(rotate) - set(users)):
            raise ValueError(f"no such user: {', '.join(unknown)}")
        rules = acl_text(prefix, gateways)
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        created = [user for user in users if user in rotate or not (self.secrets / user).exists()]
        for user in created:
            write_whole(self.secrets / user, secrets.token_urlsafe(SECRET_BYTES) + "\n")
        if not self.share_group.exists():
            write_whole(self.share_group, secrets.token_hex(SECRET_BYTES) + "\n")
        restart = self._write_listeners(websockets)
        restart |= self._write_restrictions(gateways)
        lines = self._password_lines(users)
        changed = [self._replace(self.passwords, lines), self._replace(self.acl, rules)]
        removed = sorted({path.name for path in self.secrets.iterdir()} - set(users))
        for user in removed:  # last, so that an interrupted run has not removed a secret that is still in use
            (self.secrets / user).unlink()
        return Provisioned(tuple(created), tuple(removed), any(changed) or restart, restart)

    def _write_listeners(self, websockets: bool) -> bool:
        """Write or remove the WebSocket listener; return whether that changed anything."""
        self.listeners.mkdir(mode=0o755, exist_ok=True)
        path = self.listeners / "websockets.conf"
        if websockets:
            return self._replace(path, websocket_listener(str(WEBSOCKET_PORT)))
        present = path.exists()
        path.unlink(missing_ok=True)
        return present

    def _write_restrictions(self, gateways: Sequence[GatewayAccount]) -> bool:
        """Write what the users may not do; return whether it names further ones."""
        path, text = self.restrictions, restrictions_text(gateways)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != before:
            write_whole(path, text, self._owner)
        return not restricted_users(text) <= restricted_users(before)

    def _password_lines(self, users: Sequence[str]) -> str:
        """Return the password file: one line for each user.

        A line that fits the user's secret is kept, so that a file without changes stays the same.
        """
        present = {}
        if self.passwords.exists():
            present = {
                line.split(":", 1)[0]: line
                for line in self.passwords.read_text(encoding="ascii").splitlines()
            }
        lines = []
        for user in users:
            line, secret = present.get(user, ""), self.secret(user)
            lines.append(line if opens(line, secret) else password_line(user, secret))
        return "".join(f"{line}\n" for line in lines)

    def _replace(self, path: Path, text: str) -> bool:
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        if changed:
            write_whole(path, text, self._owner)
        return changed


def ensure_user(path: Path, user: str, secret: str) -> bool:
    """Add a user to the password file ``path`` and return whether that was needed.

    The file may be somebody else's: its other lines, its owner and its mode stay. Raises WrongPasswordError
    where the user is there with another password, ValueError for a name that would break the file, and
    OSError.
    """
    path = path.resolve()  # a link stays a link
    text, before = (path.read_text(encoding="utf-8"), path.stat()) if path.exists() else ("", None)
    for line in text.splitlines():
        if line.split(":", 1)[0] == user:
            if not opens(line, secret):
                raise WrongPasswordError(f"{user} is in {path} with another password")
            return False
    separator = "" if text.endswith("\n") or not text else "\n"
    write_whole(path, f"{text}{separator}{password_line(user, secret)}\n", like=before)
    return True


def write_whole(path: Path, text: str, owner: int | None = None, like: os.stat_result | None = None) -> None:
    """Replace the file ``path`` in one step.

    A reader, or the state after a crash, has the old text or the new one. Only its owner can read the file;
    ``owner`` is that user's id, None means the user of this process. With ``like`` it gets the owner, group
    and mode of that file instead.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if owner is not None:
            os.fchown(file.fileno(), owner, -1)
        if like is not None:
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
