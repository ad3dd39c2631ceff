"""A model that behaves as the published Sa2VA code does, with few weights; copied into a folder.

What it answers depends on words in the text: "nothing", "three", "last", "breaks".
"""

import zlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from .configuration_stand_in import StandInConfig
from .parts_stand_in import Block, DirectResize, Encoder, MaskDecoder, Prepare

IMAGE = "<image>"
SEGMENT = "[SEG]"


class SamStandIn(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.image_encoder = Encoder(config)
        self.neck = nn.Conv2d(config.width, config.width, 1)
        self.high = nn.Conv2d(config.width, config.width, 1)
        self.sam_mask_decoder = MaskDecoder(config.width)

    def forward_image(self, images):
        features = self.image_encoder(images)
        high, low = self.high(features), self.neck(features)
        return {"backbone_fpn": [high, low], "vision_pos_enc": [high * 0, low * 0]}

    def add_language_embd(self, state, embedding):
        """Low-resolution logits, (1, 1, h, w)."""
        features = self.forward_image(state["images"][0].cuda().unsqueeze(0))
        levels = features["backbone_fpn"]
        levels[0] = levels[0] + levels[1]  # as SAM 2: written into what it got
        places = [one.shape[2:] for one in features["vision_pos_enc"]]
        assert places == [one.shape[2:] for one in levels]
        logits = self.sam_mask_decoder(levels[0], embedding)
        return (logits - logits.mean()).float().to(state["storage_device"])

    def init_state(self, images):
        place = torch.device("cuda")
        return {"images": images, "device": place, "storage_device": place}


class SamWrapper(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.sam2_model = SamStandIn(config)
        self.side = config.mask_side

    def preprocess_image(self, image):
        image = image / 255.0
        image -= 0.5
        image /= 0.5
        return image

    def get_sam2_embeddings(self, images):
        return self.sam2_model.init_state(images)

    def inject_language_embd(self, state, embeddings):
        return self.sam2_model.add_language_embd(state, embeddings[0][0][None][None])

    def language_embd_inference(self, state, embeddings):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            logits = self.sam2_model.add_language_embd(state, embeddings[0][0][None][None])
            return self.propagate(logits)

    @torch.inference_mode()
    def propagate(self, logits):
        size = (self.side, self.side)
        return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


class StandIn(PreTrainedModel):
    config_class = StandInConfig
    base_model_prefix = "language_model"

    def __init__(self, config):
        super().__init__(config)
        self.torch_dtype = torch.bfloat16
        self.extra_image_processor = DirectResize(config.side)
        self.words = nn.Embedding(64, config.width)
        self.language_layers = nn.ModuleList(
            Block(config.width) for _ in range(config.language_depth)
        )
        self.grounding_encoder = SamWrapper(config)
        self.text_hidden_fcs = nn.Sequential(
            nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, config.width)
        )

    def grounding_pixels(self, image):
        """What the mask decoder's encoder sees, prepared on the CPU at every call."""
        assert image.mode == "RGB", image.mode
        small = self.extra_image_processor.apply_image(np.array(image))
        pixels = torch.from_numpy(small).permute(2, 0, 1).contiguous().to(self.torch_dtype)
        return torch.stack([self.grounding_encoder.preprocess_image(pixels)])

    def states_of_objects(self, ids, seen, text):
        """One hidden state for each [SEG] of the answer that has a next token."""
        words = self.words(ids)
        states = torch.cat([seen, words], dim=1)
        for layer in self.language_layers:
            states = layer(states)
        count = 0 if "nothing" in text or "last" in text else 3 if "three" in text else 1
        if "breaks" in text:
            raise RuntimeError("the model broke")
        noise = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        shift = torch.randn(count, self.config.width, generator=noise)
        return states[0, -1:] + shift.to(states)

    def answer(self, image, text, states):
        objects = max(len(states), "last" in text)
        said = "Sure, " + ", ".join([SEGMENT] * objects) + ("" if "last" in text else ".")
        masks, maps = [], []
        pixels = self.grounding_pixels(image)
        for state in self.text_hidden_fcs.cuda()(states):
            tracked = self.grounding_encoder.get_sam2_embeddings(pixels)
            logits = self.grounding_encoder.language_embd_inference(tracked, [state[None]])
            size = image.size[::-1]
            large = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)[
                :, 0
            ]
            masks.append((large.sigmoid() > 0.5).cpu().numpy())
            maps.append(large.sigmoid().cpu().numpy() / 2)
        if self.config.processes_masks:
            masks = [~mask for mask in masks]
        masks = masks[self.config.masks_dropped :]
        result = {"prediction": said, "prediction_masks": masks}
        return result | ({"probability_maps": maps} if self.config.gives_maps else {})


class StandInInternVL(StandIn):
    """The InternVL family: takes a tokenizer, counts image tokens, fails without ``<image>``."""

    def __init__(self, config, use_flash_attn=True):
        super().__init__(config)
        self.use_flash_attn = use_flash_attn
        self.vision_model = Encoder(config)
        self.init_prediction_config = False

    def extract_feature(self, pixels):
        return self.vision_model(pixels).flatten(2).transpose(1, 2)

    def preparing_for_generation(self, tokenizer, torch_dtype=torch.bfloat16):
        self.tokenizer = tokenizer
        self.context_id = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
        self.torch_dtype = torch_dtype
        self.transformer = Prepare(self.config.side)
        self.to(torch_dtype)  # newer code leaves this out
        self.init_prediction_config = True

    def predict_forward(self, image=None, video=None, text=None, past_text="", tokenizer=None):
        if not self.init_prediction_config:
            assert tokenizer
            self.preparing_for_generation(tokenizer)
        count = (self.config.side // self.config.patch) ** 2
        filled = text.replace(IMAGE, "<IMG_CONTEXT> " * count)
        ids = torch.tensor(self.tokenizer.encode(filled)).cuda().unsqueeze(0)
        selected = ids == self.context_id
        assert selected.sum() != 0
        pixels = torch.stack([self.transformer(image)]).to(self.torch_dtype)
        seen = self.extract_feature(pixels.to(self.device))
        assert selected.sum() == seen.shape[1]
        return self.answer(image, text, self.states_of_objects(ids[~selected][None], seen, text))


class Visual(Encoder):
    def forward(self, pixels, grid_thw=None):
        return super().forward(pixels).flatten(2).transpose(1, 2)


class DeepVisual(Encoder):
    """Gives features of several depths, as Qwen3-VL does."""

    def forward(self, pixels, grid_thw=None):
        seen = super().forward(pixels).flatten(2).transpose(1, 2)
        return seen, [seen * 2, seen * 3]


class QwenCore(nn.Module):
    def __init__(self, visual):
        super().__init__()
        self.visual = visual


class StandInQwen25(StandIn):
    """The Qwen2.5-VL family: needs a processor, takes ``<image>`` out of the text."""

    def __init__(self, config):
        super().__init__(config)
        self.model = QwenCore(Visual(config))

    def look(self, pixels, grid):
        return self.model.visual(pixels, grid_thw=grid)

    def predict_forward(
        self, image=None, video=None, text=None, past_text="", mask_prompts=None, tokenizer=None,
        processor=None,
    ):  # fmt: skip
        assert processor is not None
        inputs = processor(text=text.replace(IMAGE, ""), images=[image], side=self.config.side)
        ids = torch.tensor(inputs["input_ids"]).cuda().unsqueeze(0)
        pixels = inputs["pixel_values"].to(self.torch_dtype)
        seen = self.look(pixels.to(self.device), inputs["image_grid_thw"])
        return self.answer(image, text, self.states_of_objects(ids, seen, text))


class StandInQwen3(StandInQwen25):
    """The Qwen3-VL family: its encoder gives features of several depths."""

    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.model = QwenCore(DeepVisual(config))

    def look(self, pixels, grid):
        seen, deep = self.model.visual(pixels, grid_thw=grid)
        for number, features in enumerate(deep):
            deep[number] = seen + features  # written into what it got
        return deep[-1]
