"""Presets of a recommender: trained models in folders and on hubs, and tuned settings."""

from __future__ import annotations

from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.sessions.vocabulary import Items


class WithPresets:
    """`save_to_preset` and `from_preset`. Mixed in before `keras.Model`."""

    def save_to_preset(
        self, path: str | Path, *, run=None, evaluation=None, data_licence: str | None = None, overwrite: bool = False
    ) -> Path:
        """Writes the model as a preset with weights, see `trs.presets.save` for the arguments.

        `model.save_to_preset("presets/gru4rec", run="runs/gru4rec", data_licence="CC BY 4.0")` has a full card.
        """
        import tfrecsession as trs  # presets import the models

        return trs.presets.save(
            self, path, run=run, evaluation=evaluation, data_licence=data_licence, overwrite=overwrite
        )

    @classmethod
    def from_preset(cls, name: str | Path, items: Items | None = None, **settings):
        """Returns the model of a preset: a trained one with its weights, or a new compiled one with tuned settings.

        Args:
            name: with weights: a folder, "hf://user/name" or "kaggle://owner/model/framework/variation". Settings: one
                of `trs.presets.names()`, or a .json file.
            items: the vocabulary of a new model, `data.items`; left out with weights.
            **settings: override those of a preset of settings.

        Raises:
            InputError: there is no such preset, a file has changed, or it is of another class.
        """
        import tfrecsession as trs  # presets import the models

        model = trs.presets.model(name, items, **settings)
        if not isinstance(model, cls):
            raise InputError(f"name={str(name)!r}: must be a preset of {cls.__name__}, not of {type(model).__name__}")
        return model
