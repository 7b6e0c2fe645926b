"""When training ends, and what λ and the learning rate are until then."""

import math
import time
from collections.abc import Iterator

import torch
from torch import nn

from prepbn import set_blend

# λ reaches 0 here, so that the rest of training is of the network that inference runs
BLEND_ENDS = 0.6


class Clock:
    """Counts steps; ends after so many or after minutes, whichever is first: a slow machine ends with λ = 0 too.

    `compiles`: the first step compiles the network, which is no training and takes none of the time.
    """

    def __init__(self, steps: int, minutes: float, *, compiles: bool = False):
        self.steps, self.seconds, self.compiles = steps, 60 * minutes, compiles
        self.started, self.step = time.monotonic(), 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Whether the time is up, also in the middle of a step."""
        return self.elapsed >= self.seconds and not (self.compiles and self.step == 0)

    @property
    def progress(self) -> float:
        return min(1.0, max(self.step / self.steps, self.elapsed / self.seconds))

    @property
    def blend(self) -> float:
        return max(0.0, 1 - self.progress / BLEND_ENDS)

    def rate(self, peak: float, warmup: int) -> float:
        """Linear to the peak, then a cosine to a twentieth of it."""
        return peak * min(1.0, (self.step + 1) / warmup) * (0.05 + 0.475 * (1 + math.cos(math.pi * self.progress)))


def steps_of(model: nn.Module, optimiser: torch.optim.Optimizer, clock: Clock, *, rate: float, warmup: int) -> Iterator[int]:
    """Sets λ and the learning rate before every step."""
    while clock.progress < 1:
        set_blend(model, clock.blend)
        for group in optimiser.param_groups:
            group["lr"] = clock.rate(rate, warmup)
        yield clock.step
        if clock.compiles and clock.step == 0:
            clock.started = time.monotonic()
        clock.step += 1


def device_of(name: str | None) -> torch.device:
    """The device asked for, or the best there is."""
    there = dict(cuda=torch.cuda.is_available(), mps=torch.backends.mps.is_available(), cpu=True)
    if name is None:
        return torch.device(next(kind for kind in there if there[kind]))
    if not there.get(name.split(":")[0]):
        raise SystemExit(f"there is no device {name} here: use {' or '.join(kind for kind in there if there[kind])}")
    return torch.device(name)
