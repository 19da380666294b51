"""The catalogue of our schema in a form in which two databases can be compared.

Identifiers that the server numbers (chunks, internal tables of continuous aggregates, jobs) are left out or
replaced by the name of what they belong to.
"""

import re
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from tds_new.storage.timescale import has_timescale

Connection = psycopg.Connection[Any] | BaseDatabaseWrapper
# Of each object a kind, a name and its definition.
Catalog = dict[tuple[str, str], str]

OURS = """
n.nspname = 'public'
AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.objid = {0}.oid AND d.classid = '{1}'::regclass AND d.deptype = 'e')
"""
OUR_RELATIONS = f"""
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {OURS.format("c", "pg_class")}
"""

RELATIONS = f"""
SELECT 'relation', c.relname, concat_ws(' ', c.relkind, c.relpersistence, c.reloptions)
{OUR_RELATIONS} AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
"""
COLUMNS = f"""
SELECT 'columns', c.relname, string_agg(
    format('%%s %%s%%s%%s %%s %%s', a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
        coalesce(' DEFAULT ' || pg_get_expr(f.adbin, f.adrelid), ''), a.attidentity, a.attstorage),
    E'\n' ORDER BY a.attname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum
WHERE {OURS.format("c", "pg_class")} AND c.relkind IN ('r', 'p', 'v', 'm')
GROUP BY c.relname
"""
# From PostgreSQL 18 on, NOT NULL is a constraint too; the columns say it already.
CONSTRAINTS = f"""
SELECT 'constraint', c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {OURS.format("c", "pg_class")} AND k.contype <> 'n'
"""
INDEXES = f"""
SELECT 'index', i.relname, pg_get_indexdef(i.oid)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {OURS.format("c", "pg_class")}
"""
FUNCTIONS = f"""
SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {OURS.format("p", "pg_proc")} AND p.prokind = 'f'
"""
# TimescaleDB's own begin with ts_ and name hypertables by number.
TRIGGERS = f"""
SELECT 'trigger', c.relname || '.' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {OURS.format("c", "pg_class")} AND NOT t.tgisinternal AND t.tgname NOT LIKE 'ts\\_%%'
"""
# TimescaleDB's view over a continuous aggregate names a numbered table; its definition is looked up below.
VIEWS = f"""
SELECT 'view', c.relname, pg_get_viewdef(c.oid)
{OUR_RELATIONS} AND c.relkind = 'v' AND pg_get_viewdef(c.oid) NOT LIKE '%%_materialized_hypertable_%%'
"""
PLAIN = (RELATIONS, COLUMNS, CONSTRAINTS, INDEXES, FUNCTIONS, TRIGGERS, VIEWS)

AGGREGATES = """
SELECT 'aggregate', a.view_name,
    format('materialized only: %%s, compressed: %%s', a.materialized_only, a.compression_enabled)
    || E'\n' || a.view_definition
FROM timescaledb_information.continuous_aggregates a
"""
# Those that a view's table has, but for the one by time that TimescaleDB makes.
AGGREGATE_INDEXES = """
SELECT 'aggregate index', x.indexname, replace(x.indexdef, a.materialization_hypertable_name, a.view_name)
FROM timescaledb_information.continuous_aggregates a
JOIN pg_indexes x ON x.schemaname = a.materialization_hypertable_schema
    AND x.tablename = a.materialization_hypertable_name
WHERE x.indexname NOT LIKE '\\_materialized\\_hypertable\\_%%'
"""
HYPERTABLES = """
SELECT 'hypertable', d.hypertable_name,
    format('%%s by %%s, compressed: %%s, triggers: %%s',
        d.column_name, d.time_interval, h.compression_enabled,
        (SELECT count(*) FROM pg_trigger WHERE tgrelid = d.hypertable_name::regclass))
FROM timescaledb_information.dimensions d
JOIN timescaledb_information.hypertables h USING (hypertable_schema, hypertable_name)
WHERE d.hypertable_schema = 'public'
"""
COMPRESSION = """
SELECT 'compression', hypertable_name, string_agg(
    format('%%s segment %%s order %%s %%s %%s',
        attname, segmentby_column_index, orderby_column_index, orderby_asc, orderby_nullsfirst),
    E'\n' ORDER BY segmentby_column_index, orderby_column_index)
FROM timescaledb_information.compression_settings WHERE hypertable_schema = 'public' GROUP BY hypertable_name
"""
JOBS = """
SELECT 'job', j.proc_name || ' ' || coalesce(a.view_name, j.hypertable_name),
    format('every %%s, at most %%s, %%s tries, again after %%s, scheduled: %%s, fixed: %%s, ',
        j.schedule_interval, j.max_runtime, j.max_retries, j.retry_period, j.scheduled, j.fixed_schedule)
    || (j.config - 'hypertable_id' - 'mat_hypertable_id')::text
FROM timescaledb_information.jobs j
LEFT JOIN timescaledb_information.continuous_aggregates a
    ON j.hypertable_name IN (a.materialization_hypertable_name, a.view_name)
WHERE coalesce(a.view_name, j.hypertable_name) LIKE 'tds\\_new\\_%%'
"""
TIMESCALE = (AGGREGATES, AGGREGATE_INDEXES, HYPERTABLES, COMPRESSION, JOBS)

SETTINGS_ROWS = """
SELECT 'rows', 'tds_new_consumo_particao', string_agg(id::text, ' ' ORDER BY id) FROM tds_new_consumo_particao
UNION ALL
SELECT 'rows', 'django_migrations', string_agg(name, ' ' ORDER BY name)
FROM django_migrations WHERE app = 'tds_new'
"""
NUMBERED = re.compile(r"_materialized_hypertable_\d+")


def catalog(connection: Connection) -> Catalog:
    """Return the definitions in the catalogue of a migrated database, by object."""
    queries = (*PLAIN, *TIMESCALE) if has_timescale(connection) else PLAIN
    found: Catalog = {}
    with connection.cursor() as cursor:
        for query in queries:
            cursor.execute(query, ())
            for kind, name, definition in cursor.fetchall():
                key = (kind, NUMBERED.sub("_materialized_hypertable", name))
                if key in found:
                    found[key] += "\n" + definition
                else:
                    found[key] = definition
    return found


def settings_rows(connection: Connection) -> Catalog:
    """Return the rows that migrations put into tables of settings, and the migrations that are recorded."""
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS_ROWS)
        return {(kind, name): rows for kind, name, rows in cursor.fetchall()}


def differences(found: Catalog, wanted: Catalog) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Return every object that differs, with its definition in each; None if it is missing."""
    keys = found.keys() | wanted.keys()
    return {
        key: (found.get(key), wanted.get(key)) for key in sorted(keys) if found.get(key) != wanted.get(key)
    }
