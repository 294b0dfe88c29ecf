"""Declarations of how a model class is trained by gradient, so that no other code depends on its name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Learning:
    """Declares the training of a model class; a counted model has `learning = None`.

    Args:
        defaults: setting -> default, of the model's own training settings; an entry may replace one that every training
            has (`tfrecsession.training.recipe.TRAINING`).
        space: setting -> range that `tfrecsession tune` tries, besides the model's own `search_space`.
        losses: names of the losses that the model can learn, of `tfrecsession.training.recipe.LOSSES`.
        arguments: constructor arguments of the base classes that are settings of the model too.
        harmless: constructor arguments that may differ when training resumes from a trained model: no weight's shape or
            meaning depends on them.
        samples: whether it compares targets with sampled negatives, the constructor's argument `negatives`.
        shares_rows: whether several workers can share the rows of a batch.
        streams_from_disk: whether batches may be read from files while training.
        grows: whether a trained model can continue on a newer log with new items.
        half_precision: whether the model can compute in bfloat16 or float16.
        timed: the settings of `space` that are searched only on a log with times.
    """

    defaults: dict = field(default_factory=dict)
    space: dict = field(default_factory=dict)
    losses: tuple[str, ...] = ("cross_entropy", "bpr", "bpr_max", "top1", "top1_max")
    arguments: tuple[str, ...] = ("score_dtype",)
    harmless: tuple[str, ...] = ("negatives", "score_dtype")
    samples: bool = True
    shares_rows: bool = False
    streams_from_disk: bool = False
    grows: bool = False
    half_precision: bool = False
    timed: tuple[str, ...] = ()

    def but(self, defaults: dict | None = None, space: dict | None = None, harmless=(), **changes) -> Learning:
        """Returns a copy with further defaults, ranges and harmless arguments, and with other values of the rest."""
        return replace(
            self,
            defaults={**self.defaults, **(defaults or {})},
            space={**self.space, **(space or {})},
            harmless=(*self.harmless, *harmless),
            **changes,
        )
