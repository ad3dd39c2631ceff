"""The settings of the stand-in, copied into its folder."""

from transformers import PretrainedConfig

from .defaults_stand_in import DEFAULTS


class StandInConfig(PretrainedConfig):
    model_type = "sa2va_stand_in"

    def __init__(self, **settings):
        for name, value in DEFAULTS.items():
            setattr(self, name, settings.pop(name, value))
        super().__init__(**settings)
