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


class Attention(nn.Module):
    """As in SAM 2: its own projections, one head here."""

    def __init__(self, width):
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, q, k, v):
        seen = functional.scaled_dot_product_attention(
            self.q_proj(q), self.k_proj(k), self.v_proj(v)
        )
        return self.out_proj(seen)


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.cross_attn_token_to_image = Attention(width)
        self.cross_attn_image_to_token = Attention(width)
        self.mlp = nn.Linear(width, width)


class MaskDecoder(nn.Module):
    """From features (1, C, h, w) and a token (1, 1, C) to logits (1, 1, h, w)."""

    def __init__(self, width):
        super().__init__()
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList([Layer(width)])

    def forward(self, features, token):
        keys = features.flatten(2).transpose(1, 2)
        for layer in self.transformer.layers:
            token = token + layer.cross_attn_token_to_image(token, keys, keys)
            token = token + layer.mlp(token)
            keys = keys + layer.cross_attn_image_to_token(keys, token, token)
        logits = torch.einsum("bnc,bmc->bnm", token, keys)
        return logits.unflatten(2, features.shape[2:])
