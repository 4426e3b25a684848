"""Learning rate of a training whose length nobody has to know beforehand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Warm up, stay, and decay once somebody says when: a factor of the learning rate by step.

    While it stays, every step is as good as any other to stop at or to decay from; in the decay,
    the network settles, and gains what a cosine would have given it.

    Parameters
    ----------
    warmup : int
        Steps in which the factor rises to 1.
    decay_from, decay_steps : int or None
        First step and length of the linear decay to 0; None while it is not decided.
    """

    warmup: int = 500
    decay_from: int | None = None
    decay_steps: int | None = None

    def factor(self, step: int) -> float:
        """Factor of the learning rate for a step, which is counted from 0."""
        factor = min(1.0, (step + 1) / self.warmup)
        if self.decay_from is not None and self.decay_steps is not None:
            left = self.decay_from + self.decay_steps - step
            factor *= min(1.0, max(0.0, left / self.decay_steps))
        return factor

    def finished(self, step: int) -> bool:
        """Whether nothing is left to do at a step."""
        return step > 0 and self.factor(step) == 0
