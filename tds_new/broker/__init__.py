"""The MQTT broker: its accounts and access rules, and a Mosquitto of our own for the embedded default and the tests."""
