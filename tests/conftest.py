"""Fixtures and settings of every test."""

import hypothesis
import pytest
from django.conf import settings

from tests.support import reset
from tests.support.brokers import make_broker, mosquitto
from tests.support.consumers import start_consumer
from tests.support.ingestion import clock, processor, world
from tests.support.sums import maintenance_session

# The time of an example depends more on the machine than on the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

__all__ = ["clock", "maintenance_session", "make_broker", "mosquitto", "processor", "start_consumer", "world"]


def pytest_configure(config: pytest.Config) -> None:
    """Use fast password hashes, and static files from their sources: no test needs `collectstatic`."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    reset.install()


@pytest.fixture(scope="session")
def on_timescale(request: pytest.FixtureRequest) -> bool:
    """Return whether the suite runs on TimescaleDB."""
    return bool(request.config.option.database == "timescale")
