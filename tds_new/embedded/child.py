"""Children that die with their parent, and servers that refuse to run as root.

The file is also a small script: a child starts as this script, ties itself to its parent, gives up root where asked, and then
*becomes* the command (same process id), so that nothing happens between fork and exec in a program that may have threads.
Linux only: elsewhere the README's way is Docker Compose.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal

Identity = Literal["keep", "namespace", "nobody"]

NOBODY = 65534
# Values of the kernel's interface: linux/prctl.h, linux/sched.h, linux/capability.h.
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CLONE_NEWUSER = 0x10000000
CAPABILITY_VERSION_3, CAP_DAC_OVERRIDE = 0x20080522, 1


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGTERM,
    identity: Identity = "keep",
    own_session: bool = False,
    output: IO[bytes] | int | None = None,
    error: IO[bytes] | int | None = None,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command``; it gets ``death_signal`` when this process ends, however it ends.

    Must be called in the main thread, because the kernel means the *thread* that created the child. ``own_session`` keeps the
    terminal's Ctrl-C away from it. ``output`` takes its standard output, and its errors
    where ``error`` does not. It works in ``folder``.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "children are started in the main thread only: they end with the thread that started them"
        )
    script = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal)), identity]
    return subprocess.Popen(
        [*script, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output if error is None else error,
        start_new_session=own_session,
        env=environment,
        cwd=folder,
    )


def tie_to_parent(death_signal: signal.Signals, parent: int | None = None) -> None:
    """Have this process get ``death_signal`` when the one that started it (process id ``parent``, where it is known) ends.

    Raises OSError where the kernel refuses, SystemExit where the parent has ended already.
    """
    _check(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl")
    if parent is not None and os.getppid() != parent:
        raise SystemExit(1)


def unprivileged_identity() -> Identity:
    """How a server that refuses root is to run here: as we are, or as root seen as nobody, or as nobody."""
    if os.geteuid() != 0:
        return "keep"
    # Containers often forbid user namespaces, so try it. In one, the files stay ours and no user and no mode is touched.
    probe = spawn(
        ["/bin/sh", "-c", f'test "$(id -u)" = {NOBODY}'], identity="namespace", output=subprocess.DEVNULL
    )
    return "namespace" if probe.wait() == 0 else "nobody"


def file_owner(identity: Identity) -> int:
    """The user id that files must belong to for a child with this identity."""
    return NOBODY if identity == "nobody" else os.geteuid()


def give_to(path: Path, owner: int) -> None:
    """Make ``owner`` the owner of ``path``, and of everything in it where it is a directory; nothing where it is already."""
    if path.stat().st_uid == owner:
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), owner, -1, follow_symlinks=False)
    os.chown(path, owner, -1)  # last: an interrupted change is taken up again


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _enter_namespace(libc: ctypes.CDLL) -> None:
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {group} 1", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {user} 1", encoding="ascii")


def _become_nobody(libc: ctypes.CDLL) -> None:
    """Change to nobody, keeping one power of root: to reach this checkout where its parent directories are closed to others."""
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    reach = 1 << CAP_DAC_OVERRIDE
    data = (_CapabilityData * 2)(_CapabilityData(reach, reach, reach))
    # Where even that is forbidden the command still runs if the directories are open; if not, exec says so.
    if libc.capset(ctypes.byref(_CapabilityHeader(CAPABILITY_VERSION_3, 0)), data) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main(arguments: list[str]) -> None:
    """``PARENT SIGNAL IDENTITY COMMAND...``: set this process up and become the command."""
    parent, death_signal, identity, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a background shell ignores some of them for all its children
    if identity == "namespace":
        _enter_namespace(libc)
    elif identity == "nobody":
        _become_nobody(libc)
    # After the change of user, which clears it; then look whether the parent has died meanwhile.
    _check(libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl")
    if os.getppid() != int(parent):
        raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - the command is the caller's own list


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
