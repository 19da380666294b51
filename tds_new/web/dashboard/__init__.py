"""Make a dashboard, for the page and for its polls.

Enters: a Conta, the address's parameters, a moment.
Leaves: the payload that the page is rendered from and that polls fetch.
May import: models, queries, formats, units, web.filters.

It goes one way: ``read`` runs all the queries and returns ``Facts``; ``present`` puts them into words and
runs none; ``payload`` is the contract of the result. ``scope`` has the Conta, moment and devices of a
dashboard, ``words`` the texts that several blocks share; ``cards``, ``consumption_cards``, ``line_charts``,
``bar_charts`` and ``tables`` present a block each, ``page`` the text around them, ``texts`` the scripts' own
texts. ``parts`` cuts series so that polls fetch only what changed, ``cache`` keeps costly months for a while.
"""
