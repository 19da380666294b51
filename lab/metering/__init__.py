"""Shows how often rules of metering give a right figure, against a known truth.

Enters: a number of simulated months of devices, and a seed.
Leaves: how many are exact, asked about, marked and silently wrong, by rule and by event.
May import: lab.benchmarks, lab.harness, metering, units.
"""
