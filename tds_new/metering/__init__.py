"""From readings to consumption: segments, 15-minute blocks, and the worker that keeps them up to date (docs/metering.md)."""
