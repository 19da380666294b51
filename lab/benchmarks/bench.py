"""The context that every part of a benchmark gets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from lab.benchmarks.environment import BenchmarkEnvironment
from lab.benchmarks.load import Load

SizesT = TypeVar("SizesT")


@dataclass(frozen=True)
class Bench(Generic[SizesT]):
    """The servers, the sizes of the measurement, and ``say`` to tell how far it is."""

    environment: BenchmarkEnvironment
    sizes: SizesT
    say: Callable[[str], None]

    @cached_property
    def load(self) -> Load:
        """The load on the environment's broker."""
        return Load(self.environment)

    def progress(self, what: str, steps: int = 20) -> Callable[[float], None]:
        """Return a function that says each step of a measurement once.

        It takes the share that is done; ``steps`` is how many steps there are.
        """
        said = 0

        def progress(share: float) -> None:
            nonlocal said
            if (step := min(steps, int(steps * share))) > said:
                said = step
                self.say(f"{what}: {100 * step // steps} %")

        return progress
