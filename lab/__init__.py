"""The laboratory: benchmarks, fault injection and fuzzing of the product, on servers of its own.

In go options of commands; out come reports and exit codes. It may import everything of ``tds_new``; nothing of ``tds_new`` may import it,
and production does not install it.
"""
