"""What every test of the suite has."""

import hypothesis
import pytest
from django.conf import settings

from tests.support.brokers import make_broker, mosquitto
from tests.support.consumers import start_consumer
from tests.support.ingestion import clock, processor, world
from tests.support.sums import upkeep_session

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

__all__ = ["clock", "make_broker", "mosquitto", "processor", "start_consumer", "upkeep_session", "world"]


def pytest_configure(config: pytest.Config) -> None:
    """Fast hashes, and static files straight from their sources: no test needs `collectstatic` first."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"


@pytest.fixture(scope="session")
def on_timescale(request: pytest.FixtureRequest) -> bool:
    """Whether the suite runs on TimescaleDB."""
    return bool(request.config.option.database == "timescale")
