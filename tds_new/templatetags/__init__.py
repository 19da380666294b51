"""Gives templates their tags and filters.

Enters: values in a template.
Leaves: text and markup.
May import: nothing.
"""
