"""The only reader of readings. Every function takes a Conta, or objects that were looked up within one: never an id of a request.

=============  ===============================================================================================================
``consumption``    consumption of the month beside the month before, of months and of days, by the Conta's own calendar
``series``     lines of charts, out of raw readings (``brutas``), blocks, hours, days or months
``demand``    peak demand
``recent``   the newest readings
``frota``      gateways, devices, and whether anything changed
``conferencia``, ``medicao``  for operators: whether what arrived is consistent; readings that wait for a decision
=============  ===============================================================================================================

Underneath: ``sums`` adds up any stretches of time in one statement, out of what ``layers`` says is the coarsest that fits them;
``calendario`` and ``window`` know days, months and windows.
"""
