"""The parts of one run: publisher, proxies, consumers, observer."""

from lab.harness.environment import ADMIN
from lab.torture.delivery_log import DeliveryLog
from lab.torture.environment import TortureEnvironment
from lab.torture.messages import Plan
from lab.torture.observer import Observer
from lab.torture.packet_recorder import PacketRecorder
from lab.torture.process_group import ProcessGroup
from lab.torture.proxy import DatabaseProxy
from lab.torture.publisher import Job
from lab.torture.publisher_process import PublisherProcess
from tds_new.embedded.ports import LOOPBACK


class Setup:
    """The publisher sends straight to the broker.

    Consumers see broker and database through proxies.
    """

    def __init__(
        self,
        environment: TortureEnvironment,
        plan: Plan,
        *,
        check: float = 0.0,
        rate: float = 1_000.0,
        share_group: str = "",
        mutant: str = "",
    ) -> None:
        """Register the fleet of ``plan`` and start the proxies and the publisher.

        No consumer yet.

        ``check`` is the share of PUBACKs that are looked up in the database, ``rate`` in messages/s.
        """
        self.environment, self.plan = environment, plan
        self.deliveries = DeliveryLog(plan)
        self.observer = Observer(environment.url(), plan)
        self.observer.register_fleet()
        self.database = DatabaseProxy(environment.postgres.port, self.observer.end_sessions)
        broker_port = environment.broker.port
        self.recorder = PacketRecorder(broker_port, self.deliveries, self.observer.search, check)
        self.consumers = ProcessGroup(
            environment, self.recorder, self.database.port, share_group=share_group, mutant=mutant
        )
        job = Job(plan, LOOPBACK, broker_port, ADMIN, environment.admin_secret, rate)
        self.publisher = PublisherProcess(job, self.deliveries)

    def close(self) -> None:
        """Stop publisher, consumers and proxies.

        The consumers' sessions at the broker end too.
        """
        self.publisher.close()
        self.consumers.stop()
        self.recorder.close()
        self.database.close()
        self.observer.close()
        if self.environment.broker.pid:
            for client_id in self.consumers.members:
                self.environment.forget_session(client_id)
