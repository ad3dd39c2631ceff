"""Parts of the stand-in, copied into its folder."""

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from .defaults_stand_in import HEAD


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.qkv(self.before(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + self.out(seen)
        return x + self.mlp(self.between(x))


class Encoder(nn.Module):
    """A vision transformer that counts how often it runs."""

    def __init__(self, config):
        super().__init__()
        self.embed = nn.Conv2d(3, config.width, config.patch, config.patch)
        self.blocks = nn.ModuleList(Block(config.width) for _ in range(config.depth))
        self.runs = 0

    def forward(self, pixels):
        self.runs += 1
        x = self.embed(pixels)
        grid = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return x.transpose(1, 2).unflatten(2, grid)


class DirectResize:
    """As the published code prepares an image for the mask decoder's encoder."""

    def __init__(self, side):
        self.side = side

    def apply_image(self, image):
        return np.array(Image.fromarray(image).resize((self.side, self.side)))


class Prepare:
    """As it prepares an image for the language model's: in place of torchvision's transforms."""

    def __init__(self, side):
        self.side = side

    def __call__(self, image):
        small = np.array(image.resize((self.side, self.side)), np.float32) / 127.5 - 1
        return torch.from_numpy(small).permute(2, 0, 1)
