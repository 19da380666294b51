"""Keep a connection to the MQTT broker and pass its messages to handlers.

Enters: packets from the broker; acknowledgements and publications from other threads.
Leaves: messages to the handlers of their topic.
May import: backoff, logs, ingestion.message, ingestion.topics. Only this package knows paho-mqtt.
"""

from tds_new.ingestion.transport.config import BrokerConfig, TlsConfig, Will, broker_config
from tds_new.ingestion.transport.routing import Handler
from tds_new.ingestion.transport.subscriber import MQTTSubscriber

__all__ = ["BrokerConfig", "Handler", "MQTTSubscriber", "TlsConfig", "Will", "broker_config"]
