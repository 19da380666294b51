"""Turns messages of the broker into stored readings.

Enters: MQTT messages of gateways (``transport``), or rejected ones that are processed again (``reprocess``).
Leaves: readings, signs of life and rejected messages, in the database; acknowledgements, to the broker.
May import: models, storage, backoff, logs, mac, units.

=======================  =========================================================================
``transport``            the connection to the broker
``consumer``             the loop: receive, process, acknowledge; ``inbox`` is its queue
``telemetry_processor``  the service that every message goes through, one transaction a batch
``payload``              bytes to readings; ``lossless`` reads what is not plain JSON
``resolver``             identifiers in topics to gateways and devices; ``topics`` has their form
``preparation``          messages to rows, before anything is stored
``store``                the only writer of readings
``presence``             the writer of signs of life, and of the counters that pages follow
``rejected``             the only writer of rejected messages; ``refusal`` has the reasons
``leadership``           one active consumer per client id; ``retry`` waits for the database
``status``               what a consumer reports; ``statistics``, ``metrics``, ``supervision`` too
=======================  =========================================================================
"""
