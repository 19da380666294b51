"""Put the facts of a dashboard into words; nothing is read here."""

from django.utils.translation import gettext as _

from tds_new.web.dashboard.bar_charts import bar_charts
from tds_new.web.dashboard.cards import cards
from tds_new.web.dashboard.finality import finality_rows, waiting
from tds_new.web.dashboard.line_charts import chart_window, line_charts
from tds_new.web.dashboard.meters import meters_table
from tds_new.web.dashboard.payload import VERSION, Dashboard
from tds_new.web.dashboard.read import Facts
from tds_new.web.dashboard.tables import offline_table, readings_table
from tds_new.web.dashboard.words import window_title


def present(facts: Facts, has: frozenset[str] = frozenset()) -> Dashboard:
    """Return the dashboard in the language of the request.

    Series are reduced to the parts that the browser does not have yet; ``has`` are the marks of those that it
    has.
    """
    scope = facts.scope
    failure = _("Não foi possível carregar este bloco. Os outros dados estão corretos.")
    return {
        "version": VERSION,
        "sequence": scope.sequences.ingestion,
        "title": window_title(scope.filter),
        "window": chart_window(scope.filter.window),
        "cards": cards(facts),
        "charts": line_charts(facts, has),
        "bars": bar_charts(facts),
        "finality": finality_rows(facts),
        "waiting": waiting(facts),
        "meters": meters_table(facts),
        "readings": readings_table(facts),
        "offline": offline_table(scope),
        "failures": {block.value: failure for block in sorted(facts.failed)},
    }
