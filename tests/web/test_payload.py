"""The types of a dashboard's JSON: server and scripts name the same keys."""

import re
from types import UnionType
from typing import Any, get_type_hints, is_typeddict

import pytest

from tds_new.web.dashboard import payload
from tds_new.web.dashboard.read import Block
from tds_new.web.dashboard.texts import texts
from tests.support.paths import ROOT

TYPES = (ROOT / "tds_new/web/dashboard/payload.d.ts").read_text(encoding="utf-8")
INTERFACE = r"interface {} {{\n(.*?)\n}}"
TYPED_DICTS = {name: item for name, item in vars(payload).items() if is_typeddict(item)}


def keys_of(interface: str) -> dict[str, str]:
    """The keys of an interface of the scripts, with the types as they are written."""
    found = re.search(INTERFACE.format(interface), TYPES, re.DOTALL)
    assert found, f"payload.d.ts has no interface {interface}"
    return dict(re.findall(r"^  (\w+)\??: (.*);$", found[1], re.MULTILINE))


def may_be_null(hint: Any) -> bool:
    return isinstance(hint, UnionType) and type(None) in hint.__args__


@pytest.mark.parametrize("name", TYPED_DICTS)
def test_both_sides_name_the_same_keys_and_agree_on_which_may_be_null(name: str) -> None:
    hints, keys = get_type_hints(TYPED_DICTS[name]), keys_of(name)

    assert list(hints) == list(keys)
    assert {key for key, hint in hints.items() if may_be_null(hint)} == {
        key for key, written in keys.items() if written.endswith("| null")
    }


def test_a_failure_is_known_for_each_block_that_can_fail() -> None:
    assert set(keys_of("Failures")) == {block.value for block in Block}


def test_the_sentences_of_the_scripts_are_those_that_they_know() -> None:
    assert list(texts()) == list(keys_of("Texts"))
