"""Failed logins count together by the client's address."""

from typing import Any

import pytest
from django.test import RequestFactory

from tds_new.web.client_ip import client_ip, network_of, wide_network_of


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "expected"),
    [
        (False, None, "10.0.0.9"),
        (False, "1.2.3.4", "10.0.0.9"),  # nobody vouches for the header
        (True, "1.2.3.4", "1.2.3.4"),
        (True, "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # the first one is the browser's own claim
        (True, None, "10.0.0.9"),
        (True, "", "10.0.0.9"),
        (True, "::ffff:1.2.3.4", "1.2.3.4"),
        (True, "2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_only_the_proxys_word_is_trusted(
    settings: Any, behind_proxy: bool, forwarded: str | None, expected: str
) -> None:
    settings.TDS_BEHIND_PROXY = behind_proxy
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert client_ip(RequestFactory().get("/", headers=headers, REMOTE_ADDR="10.0.0.9")) == expected


@pytest.mark.parametrize(
    ("address", "network", "wide"),
    [
        ("203.0.113.7", "203.0.113.7/32", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7/32", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("0.0.0.1", "0.0.0.1/32", "0.0.0.0/24"),
        ("::1", "::/64", "::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("", "", ""),
        ("/run/web.sock", "", ""),
    ],
)
def test_networks_that_count_as_one_party(address: str, network: str, wide: str) -> None:
    assert (network_of(address), wide_network_of(address)) == (network, wide)
