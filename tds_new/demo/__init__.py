"""Shows the platform with a company of simulated gateways.

Enters: options of ``demo``, ``create_demo_data`` and ``simulate_gateways``.
Leaves: registrations and logins, telemetry through the broker, running services.
May import: models, ingestion, broker, embedded.
"""
