"""The processor of the stand-in, copied into its folder."""

import torch
from transformers import BatchFeature, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

from .parts_stand_in import Prepare


class Images(BaseImageProcessor):
    def preprocess(self, images, side):
        pixels = torch.stack([Prepare(side)(image) for image in images])
        return BatchFeature({"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, 4, 4]])})


class StandInProcessor(ProcessorMixin):
    attributes = ["tokenizer"]  # noqa: RUF012
    tokenizer_class = "AutoTokenizer"

    def __init__(self, tokenizer=None):
        super().__init__(tokenizer)
        self.image_processor = Images()

    def __call__(self, text, images, side):
        return {**self.tokenizer(text), **self.image_processor(images, side=side)}
