"""MQTT: the only package that knows the client library (paho-mqtt)."""

from tds_new.ingestion.transport.config import BrokerConfig, TlsConfig, Will, broker_config
from tds_new.ingestion.transport.subscriber import Handler, MQTTSubscriber

__all__ = ["BrokerConfig", "Handler", "MQTTSubscriber", "TlsConfig", "Will", "broker_config"]
