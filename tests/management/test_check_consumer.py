"""``check_consumer`` says whether somebody receives telemetry."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from tds_new.models import ConsumerStatus

pytestmark = pytest.mark.django_db


def check(client_id: str = "django_tds_new_consumer") -> str:
    out = StringIO()
    call_command("check_consumer", client_id=client_id, stdout=out)
    return out.getvalue()


def test_a_connected_consumer_heard_of_lately_is_well() -> None:
    ConsumerStatus.objects.create(
        client_id="django_tds_new_consumer", host="srv", estado="connected", updated_at=now()
    )
    assert check().startswith("[OK] consumer django_tds_new_consumer on srv is connected")


@pytest.mark.parametrize(
    ("estado", "age", "words"),
    [
        ("connected", 61, "has been silent since"),
        ("disconnected", 1, "is disconnected"),
        ("standby", 1, "is standby"),
        ("stopped", 3600, "is stopped"),
        ("starting", 1, "is starting"),
    ],
)
def test_one_that_does_not_receive_is_an_error(estado: str, age: int, words: str) -> None:
    updated = now() - timedelta(seconds=age)
    ConsumerStatus.objects.create(
        client_id="django_tds_new_consumer", host="srv", estado=estado, updated_at=updated
    )
    with pytest.raises(CommandError, match=words):
        check()


def test_none_at_all_is_an_error_and_another_ones_status_does_not_count() -> None:
    ConsumerStatus.objects.create(client_id="other", estado="connected", updated_at=now())
    with pytest.raises(CommandError, match="no consumer django_tds_new_consumer has ever reported"):
        check()
