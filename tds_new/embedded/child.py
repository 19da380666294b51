"""Start child processes that end with their parent, as another user where asked.

This file is also a small script. A child starts as this script, ties itself to its parent, gives up root
where asked, and then *becomes* the command, under the same process id. So none of our code runs between fork
and exec in a program that may have threads. Linux only: on other systems the README recommends Docker
Compose.
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
# Values of the kernel's interface: linux/prctl.h, linux/securebits.h, linux/sched.h, linux/capability.h.
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CLONE_NEWUSER = 0x10000000
CAPABILITY_VERSION_3, CAP_DAC_OVERRIDE = 0x20080522, 1


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGTERM,
    identity: Identity = "keep",
    own_session: bool = False,
    output: IO[bytes] | int | None = None,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` as a child that ends with this process and return it.

    death_signal: sent to the child by the kernel when this process ends, in whatever way it ends
    identity: the user that the child runs as; see :func:`unprivileged_identity`
    own_session: whether the child gets a session of its own, so that Ctrl-C in the terminal does not reach it
    output: takes its standard output and its standard error; subprocess.PIPE makes a pipe for each
    environment: its environment variables; None passes on those of this process
    folder: its working directory; None passes on that of this process

    Raises RuntimeError outside the main thread: the kernel sends the signal when the *thread* that created
    the child ends.
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
        stderr=output,
        start_new_session=own_session,
        env=environment,
        cwd=folder,
    )


def end(process: subprocess.Popen[bytes], number: signal.Signals, timeout_s: float) -> None:
    """Send a child a signal and wait for its end; SIGKILL follows after ``timeout_s``."""
    process.send_signal(number)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tie_to_parent(death_signal: signal.Signals, parent: int | None = None) -> None:
    """Let the kernel send this process ``death_signal`` when its parent ends.

    ``parent`` is the parent's process id where it is known. Raises OSError if the kernel refuses, and
    SystemExit where the parent has ended already.
    """
    _check(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl")
    if parent is not None and os.getppid() != parent:
        raise SystemExit(1)


def unprivileged_identity(*paths: Path) -> Identity:
    """Return how to run a server that refuses to run as root.

    "keep" where this process is not root. As root, "namespace" (root, seen as nobody in a user namespace)
    where the kernel allows it and the server can read ``paths`` in it; no file changes its owner then.
    Otherwise "nobody".
    """
    if os.geteuid() != 0:
        return "keep"
    # Containers often forbid user namespaces, and in one root cannot enter another user's closed directory:
    # try it.
    script = f'test "$(id -u)" = {NOBODY} || exit 1; for path; do test -r "$path" || exit 1; done'
    probe = spawn(
        ["/bin/sh", "-c", script, "probe", *map(str, paths)],
        identity="namespace",
        output=subprocess.DEVNULL,
    )
    return "namespace" if probe.wait() == 0 else "nobody"


def file_owner(identity: Identity) -> int:
    """Return the user id that must own the files of a child with this identity."""
    return NOBODY if identity == "nobody" else os.geteuid()


def give_to(path: Path, owner: int) -> None:
    """Make the user id ``owner`` the owner of ``path`` and of everything in it.

    Does nothing if ``path`` itself belongs to ``owner`` already.
    """
    if path.stat().st_uid == owner:
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), owner, -1, follow_symlinks=False)
    os.chown(path, owner, -1)  # last: after an interruption the next call starts again


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
    """Become nobody, but keep the capability to pass closed directories.

    The checkout, its PostgreSQL and its data may lie in such a directory (/root). Without
    SECBIT_NO_SETUID_FIXUP access(2) ignores the capabilities of everybody but root, and PostgreSQL asks it
    whether its own program is executable. Where the kernel refuses this, PR_SET_KEEPCAPS at least lets files
    be opened.
    """
    if libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) != 0:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kept = 1 << CAP_DAC_OVERRIDE
    data = (_CapabilityData * 2)(_CapabilityData(kept, kept, kept))
    # Where even that is forbidden the command still runs if the directories are open; if not, exec says so.
    if libc.capset(ctypes.byref(_CapabilityHeader(CAPABILITY_VERSION_3, 0)), data) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main(arguments: list[str]) -> None:
    """Set this process up and become the command.

    The arguments are ``PARENT SIGNAL IDENTITY COMMAND...``.
    """
    parent, death_signal, identity, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a shell starts its background jobs with some of them ignored
    if identity == "namespace":
        _enter_namespace(libc)
    elif identity == "nobody":
        _become_nobody(libc)
    # A change of the user clears the death signal, so it is set now.
    tie_to_parent(signal.Signals(int(death_signal)), int(parent))
    os.execvp(command[0], command)  # noqa: S606 - the command is the caller's own list


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
