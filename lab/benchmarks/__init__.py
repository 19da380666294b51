"""Measurements that anyone can repeat: commands that print figures measured side by side in one run."""
