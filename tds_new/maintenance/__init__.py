"""What the platform does so that its figures stay right and its database small: refresh, compression, retention (docs/metering.md)."""
