"""Offers the laboratory on the command line."""
