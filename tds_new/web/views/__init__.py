"""Answer the addresses of the web, with a module for each screen.

Enters: requests of people.
Leaves: pages, JSON and CSV files.
May import: models, queries, formats, units, web.
"""
