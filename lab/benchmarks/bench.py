"""What the parts of every benchmark get."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from lab.benchmarks.environment import Environment
from lab.benchmarks.load import Load

SizesT = TypeVar("SizesT")


@dataclass(frozen=True)
class Bench(Generic[SizesT]):
    """The servers, how much is measured, and where to tell how far it is."""

    made: Environment
    sizes: SizesT
    say: Callable[[str], None]

    @cached_property
    def load(self) -> Load:
        """What sends to the environment's broker."""
        return Load(self.made)
