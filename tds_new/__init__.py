"""Turn the telemetry of utility meters into consumption that can be billed.

Enters: messages of gateways, and what operators register.
Leaves: readings, consumption, pages and metrics.
May import: nothing.
"""
