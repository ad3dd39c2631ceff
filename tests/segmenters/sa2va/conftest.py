"""Folders of stand-in models, one for each family, and what such a model answers by itself."""

import numpy as np
import pytest
import torch
import transformers
from stand_in import CLASSES, build, parameters_of

from vesselrl.segmenters.base import build_segmenter


@pytest.fixture(scope="session", autouse=True)
def code_cache(tmp_path_factory):
    """Where transformers copies a model's code to: empty, so that nothing of another run helps."""
    with pytest.MonkeyPatch.context() as patch:
        cache = str(tmp_path_factory.mktemp("code"))
        patch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", cache)
        yield cache


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Family → folder of its stand-in."""
    root = tmp_path_factory.mktemp("models")
    return {family: build(root / family, family) for family in CLASSES}


@pytest.fixture(scope="session", params=CLASSES)
def family(request):
    return request.param


@pytest.fixture
def segmenter(folders, family):
    return build_segmenter(parameters_of(folders[family]))


@pytest.fixture(scope="session")
def image():
    """Not square, so that height and width cannot be mistaken for each other."""
    return np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)


@pytest.fixture
def own_masks(monkeypatch):
    """What a model answers without vesselrl: its masks, by its own ``predict_forward``."""
    to = torch.Tensor.to

    def on_cpu(tensor, *args, **kwargs):
        args = [arg for arg in args if getattr(arg, "type", None) != "cuda"]
        return to(tensor, *args, **kwargs) if args or kwargs else tensor

    def ask(folder, picture, texts, dtype=torch.float32):
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor)
            patch.setattr(torch.nn.Module, "cuda", lambda module, *_, **__: module)
            patch.setattr(torch.Tensor, "to", on_cpu)
            place = {"pretrained_model_name_or_path": folder, "trust_remote_code": True}
            model = transformers.AutoModel.from_pretrained(**place, torch_dtype=dtype).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
            if hasattr(model, "preparing_for_generation"):
                model.preparing_for_generation(tokenizer, torch_dtype=dtype)
                helpers = {"tokenizer": tokenizer}
            else:
                helpers = {"processor": transformers.AutoProcessor.from_pretrained(**place)}
            model.torch_dtype = dtype
            bfloat16 = dtype == torch.bfloat16
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                return [
                    model.predict_forward(image=picture, text=f"<image>\n{text}", **helpers)[
                        "prediction_masks"
                    ]
                    for text in texts
                ]

    return ask
