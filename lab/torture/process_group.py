"""The consumers of a run as processes.

They are started, killed, stopped, frozen, and measured.
"""

import signal
import sys
from pathlib import Path

from lab.harness.consumer import ConsumerProcess
from lab.harness.errors import LabError
from lab.harness.waiting import wait_until
from lab.torture.environment import TortureEnvironment
from lab.torture.packet_recorder import PacketRecorder

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class ConsumerUnderTest(ConsumerProcess):
    """One consumer process.

    It reads ``kill_order``, a file, when it is told to kill itself.
    """

    def __init__(
        self, environment: TortureEnvironment, client_id: str, variables: dict[str, str], *options: str
    ) -> None:
        """Start a consumer with this client id.

        ``options`` are those of ``lab.torture.system_under_test``, then those of ``start_mqtt_consumer``
        after ``--``.
        """
        self.client_id = client_id
        log = environment.log_path("consumer")
        self.kill_order: Path = log.with_suffix(".kill_order")
        command = [
            sys.executable,
            "-m",
            "lab.torture.system_under_test",
            "--kill-order",
            str(self.kill_order),
        ]
        super().__init__([*command, *options], log, variables, death_signal=signal.SIGKILL, own_session=True)

    def order_kill(self, point: str, times: int) -> None:
        """Have it kill itself when it reaches ``point`` so many times from now on."""
        self.kill_order.write_text(f"{point} {times}", encoding="ascii")
        self.send_signal(signal.SIGUSR1)

    def has_logged(self, text: str, timeout: float) -> bool:
        """Wait for a line with ``text`` in its log.

        Return False after ``timeout`` seconds or at its end.
        """
        try:
            self.wait_for(text, timeout=timeout)
        except LabError:
            return False
        return True


class ProcessGroup:
    """The consumers that ought to be running, by client id.

    ``peak_memory`` is the highest of any of them, in MiB.
    """

    def __init__(
        self,
        environment: TortureEnvironment,
        recorder: PacketRecorder,
        database_port: int,
        *,
        share_group: str = "",
        mutant: str = "",
    ) -> None:
        """Prepare to start consumers.

        ``recorder`` is between them and the broker; a proxy on ``database_port`` is before the database.
        """
        self._environment, self._recorder = environment, recorder
        self._share_group, self._mutant = share_group, mutant
        self._variables = environment.variables_behind(database_port, recorder.port)
        self._started: list[ConsumerUnderTest] = []
        self.members: dict[str, ConsumerUnderTest] = {}
        self.peak_memory = 0.0

    def spawn(self, client_id: str, *, standby: bool = True) -> ConsumerUnderTest:
        """Start a consumer without waiting for it."""
        options = ["--mutant", self._mutant] if self._mutant else []
        options += ["--", "--client-id", client_id]
        options += ["--share-group", self._share_group] if self._share_group else []
        options += ["--standby"] if standby else []
        consumer = ConsumerUnderTest(self._environment, client_id, self._variables, *options)
        self._started.append(consumer)
        return consumer

    def start(self, client_id: str) -> ConsumerUnderTest:
        """Start a consumer and wait until it is subscribed.

        It takes the place of its client id.

        Raises LabError if it does not get there.
        """
        before = self._recorder.subscriptions(client_id)
        consumer = self.members[client_id] = self.spawn(client_id)

        def is_subscribed() -> bool:
            if not consumer.alive:
                raise LabError(f"the consumer did not start: {consumer.log[-800:]}")
            return self._recorder.subscriptions(client_id) > before

        wait_until(
            is_subscribed, lambda: f"the consumer's subscription: {consumer.log[-800:]}", START_TIMEOUT_S
        )
        return consumer

    def restart_ended(self) -> None:
        """Start every consumer that has ended, as a supervisor would, without waiting."""
        for client_id, consumer in self.members.items():
            if not consumer.alive:
                self.members[client_id] = self.spawn(client_id)

    def measure_memory(self) -> None:
        """Note the highest memory of the consumers so far."""
        for consumer in self._started:
            if consumer.alive:
                try:
                    self.peak_memory = max(self.peak_memory, consumer.peak_memory())
                except LabError:
                    continue  # it has just ended

    def stop(self) -> bool:
        """Stop all in order.

        Return False if one had to be killed or ended with an error.
        """
        self.measure_memory()
        current = list(self.members.values())
        for consumer in current:
            if consumer.alive:
                consumer.send_signal(signal.SIGTERM)
        ended = [consumer.ends_within(STOP_TIMEOUT_S) for consumer in current]
        in_order = all(ended) and all(consumer.process.returncode == 0 for consumer in current)
        for consumer in self._started:
            if consumer.alive:
                consumer.kill()
        return in_order
