"""Make a dashboard, for the page and for its polls.

Enters: a Conta, the address's parameters, a moment.
Leaves: the payload that the page is rendered from and that polls fetch.
May import: models, queries, formats, web.filters.

It goes one way: ``read`` runs all the queries and returns ``Facts``; ``present`` puts them into words and
runs none; ``payload`` is the contract of what comes out. ``scope`` is what the dashboard is about, ``words``
what several blocks share; ``cards``, ``consumption_cards``, ``line_charts``, ``bar_charts`` and ``tables``
present a block each, ``page`` what stands around them, ``texts`` what the scripts say. ``parts`` cuts series
so that polls fetch only what changed, ``cache`` keeps costly months for a while.
"""
