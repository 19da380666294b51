"""Failed logins count together by the client's address."""

from typing import Any

import pytest
from django.test import RequestFactory

from tds_new.web.client_ip import client_ip


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "expected"),
    [
        (False, None, "10.0.0.9"),
        (False, "1.2.3.4", "10.0.0.9"),  # nobody vouches for the header
        (True, "1.2.3.4", "1.2.3.4"),
        (True, "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # the first one is the browser's own claim
        (True, None, "10.0.0.9"),
        (True, "", "10.0.0.9"),
    ],
)
def test_only_the_proxys_word_is_trusted(
    settings: Any, behind_proxy: bool, forwarded: str | None, expected: str
) -> None:
    settings.TDS_BEHIND_PROXY = behind_proxy
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert client_ip(RequestFactory().get("/", headers=headers, REMOTE_ADDR="10.0.0.9")) == expected
