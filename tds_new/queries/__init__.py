"""Answers what people ask of readings, blocks and the fleet.

Enters: a Conta, or objects that were looked up within one; never an id of a request.
Leaves: values of this package's own types; nothing is put into words, nothing is written.
May import: models, storage, metering, units.

===================  =============================================================================
``consumption``      the month to date beside the month before it, months and days
``meters``           meters in their structure, and what each of them consumed
``finality``         up to when figures are settled, and how many readings wait for a person
``demand``           the peak demand of devices
``series``           the points of a chart's lines; ``raw_points`` has those out of raw readings
``latest``           the newest readings
``fleet``            gateways and devices, their states, and whether anything changed
``neighbours``       the readings around a moment, for people who review one
``consistency``      for operators, over all Contas: what arrived, and what cannot be computed
``consumers``        for operators: which consumers are silent
===================  =============================================================================

Underneath, ``sums`` adds up periods in one statement, each covered by the coarsest tables that ``layers``
finds for it. ``local_calendar`` knows days and months, ``window`` what a page shows, ``points`` what a chart
is drawn of.

A stretch of time has one name for each kind:

- *window*: what a page shows, in a Conta's zone, cut into buckets of one *step* (``window.Window``).
- *period*: ``[start, end)`` in UTC with both ends on the edge of a block, often a local day or month
  (``local_calendar.Period``).
- *block*: 15 minutes, the fact that everything else is a sum of.
- *bucket*: what one stored sum, or one point of a chart, stands for.
- *span*: whole buckets of one table, which are added to a sum or subtracted from it (``layers.Span``).
- *cell*: the part of a table between two neighbouring *edges* of spans (``sums.TableRead``).
- *boundary*: where a bucket of a table begins; the boundaries of a table are its *grid* (``layers.Grid``).
"""
