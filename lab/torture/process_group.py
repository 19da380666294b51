"""The consumers of a run as processes: started, killed, stopped, frozen, and measured."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lab.torture.environment import TortureEnvironment
from lab.torture.packet_recorder import PacketRecorder
from tds_new.embedded import child

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


@dataclass
class ConsumerUnderTest:
    """One consumer process."""

    process: "subprocess.Popen[bytes]"
    client_id: str
    log: Path
    orders: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait()

    def arm(self, point: str, times: int) -> None:
        """Have it kill itself at a point."""
        self.orders.write_text(f"{point} {times}", encoding="ascii")
        self.signal(signal.SIGUSR1)

    def wait_dead(self, timeout: float) -> bool:
        """Whether it ends within ``timeout`` seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_text(self) -> str:
        """What it said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, text: str, timeout: float) -> bool:
        """Whether ``text`` is in its log within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while text not in self.log_text():
            if time.monotonic() > deadline or not self.alive:
                return text in self.log_text()
            time.sleep(0.02)
        return True

    def memory(self) -> float:
        """The most it has had resident, in MiB (VmHWM); 0 where it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0.0
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(match[1]) / 1024 if match else 0.0


class ProcessGroup:
    """The consumers that ought to be running, by client id."""

    def __init__(
        self,
        environment: TortureEnvironment,
        recorder: PacketRecorder,
        database_port: int,
        group: str,
        mutant: str,
    ) -> None:
        self._environment, self._recorder, self._group, self._mutant = environment, recorder, group, mutant
        self._variables = environment.variables(database_port, recorder.port)
        self._made: list[ConsumerUnderTest] = []
        self.members: dict[str, ConsumerUnderTest] = {}
        self.peak = 0.0

    def spawn(self, client_id: str, *, standby: bool = True) -> ConsumerUnderTest:
        """Start a consumer without waiting for it."""
        name = self._environment.directory / f"consumer-{self._environment.runs}-{len(self._made)}"
        member_log, orders = name.with_suffix(".log"), name.with_suffix(".orders")
        command = [sys.executable, "-m", "lab.torture.system_under_test", "--orders", str(orders)]
        command += ["--mutant", self._mutant] if self._mutant else []
        command += ["--", "--client-id", client_id]
        command += ["--share-group", self._group] if self._group else []
        command += ["--standby"] if standby else []
        with member_log.open("wb") as output:
            process = child.spawn(
                command,
                output=output,
                environment=self._variables,
                death_signal=signal.SIGKILL,
                own_session=True,
            )
        member = ConsumerUnderTest(process, client_id, member_log, orders)
        self._made.append(member)
        return member

    def start(self, client_id: str) -> ConsumerUnderTest:
        """Start a consumer that takes the place of its client id, and wait until it is subscribed.

        Raises RuntimeError where it does not get there.
        """
        before = self._recorder.subscriptions(client_id)
        member = self.members[client_id] = self.spawn(client_id)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._recorder.wait_for_subscription(client_id, before, 0.2):
            if not member.alive or time.monotonic() > deadline:
                raise RuntimeError(f"the consumer did not start: {member.log_text()[-800:]}")
        return member

    def restart_ended(self) -> None:
        """Start every consumer that has died, as a supervisor would, without waiting."""
        for client_id, member in self.members.items():
            if not member.alive:
                self.members[client_id] = self.spawn(client_id)

    def measure(self) -> None:
        """Note the memory."""
        self.peak = max([self.peak, *(member.memory() for member in self._made if member.alive)])

    def stop(self) -> bool:
        """Stop everyone in order; False where one had to be killed or ended with an error."""
        self.measure()
        current = list(self.members.values())
        for member in current:
            if member.alive:
                member.signal(signal.SIGTERM)
        ended = [member.wait_dead(STOP_TIMEOUT_S) for member in current]
        fine = all(ended) and all(member.process.returncode == 0 for member in current)
        for member in self._made:
            if member.alive:
                member.kill()
        return fine
