"""The demonstration: a company with simulated gateways, and the program behind `make run`."""
