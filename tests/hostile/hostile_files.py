"""Good files of every kind that is loaded, and what loads each."""

import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from finished_world import World, judge, policy
from vesselrl import load_bundle
from vesselrl.annotations.sources import open_source
from vesselrl.bundle.content import recipe_files
from vesselrl.bundle.files import with_manifest, zipped
from vesselrl.checkpoints import Checkpoints
from vesselrl.datasets.npz import NpzDataset
from vesselrl.datasets.policy import PolicyDataset
from vesselrl.datasets.sb3 import Sb3ModelDataset
from vesselrl.datasets.tensors import TensorsDataset
from vesselrl.datasets.torch_state import TorchStateDataset
from vesselrl.evaluation.parameters import Method
from vesselrl.journal import Journal
from vesselrl.networks.architecture import Architecture
from vesselrl.prediction.calibration import Calibration
from vesselrl.prediction.folder import JOURNAL, PredictionFolder
from vesselrl.prediction.recipe import Recipe
from vesselrl.provenance import Ledger
from vesselrl.rl.actions import ActionSet
from vesselrl.segmenters.candidate_folder import CandidateFolder
from vesselrl.segmenters.sa2va.adapters import read_adapters
from vesselrl.segmenters.unet.network import SegmentationNetwork
from vesselrl.segmenters.unet.weights import load_weights, save_weights

ACTIONS = ActionSet.of(list(World.segmenter.prompts), "thick", World.actions)
WIDTHS = (4, 4, 8, 8, 8, 4)


def recipe():
    raw = {score: np.linspace(0.1, 0.9, 8) for score in ("dice", "recall", "precision")}
    return Recipe(
        "static", Method(kind="static"), World.segmenter, World.actions, ["dice"], 4, None, None,
        None, None, judge(1), Calibration.fit(raw, raw, list("aabbccdd"), 0.6, None),
    )  # fmt: skip


def put(folder, content):
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _torch_state(folder):
    TorchStateDataset(filepath=str(folder / "state.pth")).save(judge(1))


def _checkpoint(folder):
    Checkpoints(folder).save("state", "same", {"network": judge(1), "done": [1, 2.5, "x"]})


def _sb3(folder):
    made = policy(ACTIONS, "setting", 1, 3)
    told = {
        **made.settings(), "mean": made.weights["mean"].tolist(),
        "scale": made.weights["scale"].tolist(),
    }  # fmt: skip
    tensors = {
        f"action_net.{part}": torch.from_numpy(made.weights[f"layer.0.{part}"])
        for part in ("weight", "bias")
    }
    with zipfile.ZipFile(folder / "final_model.zip", "w") as archive:
        archive.writestr("data", json.dumps({"deployment": told}))
        with archive.open("policy.pth", "w") as stream:
            torch.save(tensors, stream)


def _policy(folder):
    PolicyDataset(filepath=str(folder / "policy.safetensors")).save(
        policy(ACTIONS, "setting", 1, 3)
    )


def _weights(folder):
    architecture = Architecture(1, WIDTHS, 1)
    network = SegmentationNetwork(architecture.build(), architecture, 64)
    save_weights(folder / "unet.safetensors", network)


def _tensors(folder):
    TensorsDataset(filepath=str(folder / "x.safetensors")).save({"a": torch.eye(3)})


def _arrays(folder):
    NpzDataset(filepath=str(folder / "x.npz")).save({"a": np.eye(9), "names": np.array(["x"])})


def _adapters(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))
    save_file({"lora_A.weight": torch.eye(3)}, folder / "adapter_model.safetensors")


def _bundle(folder):
    put(folder, with_manifest(recipe_files(recipe())))


def _bundle_archive(folder):
    (folder / "bundle.zip").write_bytes(zipped(with_manifest(recipe_files(recipe()))))


def _journal(folder):
    noted = {"key": "k", "sizes": {"masks": 3}, "scores": {"error": "", "dice": 0.5}}
    with Journal(folder / JOURNAL) as journal:
        for name in ("a", "two\nlines", "造影"):
            journal.add(name, noted)


def _ledger(folder):
    (folder / "fingerprints.json").write_text(json.dumps({"samples": ["a", "b"]}))


SQUARE = [2, 2, 9, 2, 9, 9, 2, 9]
ANNOTATIONS = {
    "flat": [{"image": "a.png", "mask": [SQUARE]}, {"image": "b.png", "mask": []}],
    "sa2va": [{"image": "a.png", "mask": [[SQUARE], [SQUARE]], "text": ["main", "side"]}],
    "coco": {
        "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 20}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [SQUARE]}],
        "categories": [{"id": 1, "name": "vessel"}],
    },
}
LABELME = {
    "shapes": [{"label": "v", "points": [[2, 2], [9, 2], [9, 9]], "shape_type": "polygon"}],
    "imagePath": "a.png", "imageWidth": 30, "imageHeight": 20,
}  # fmt: skip


def _annotations(document, name="annotations.json"):
    return lambda folder: (folder / name).write_text(json.dumps(document))


def _look_through_journal(folder):
    journal = Journal(folder / JOURNAL)
    for name in journal:
        journal.get(name)
    return PredictionFolder(folder).exists()


def _load_candidates(folder):
    for load in CandidateFolder(folder).load().values():
        dict(load())


KINDS = {
    "torch state": (_torch_state, lambda f: TorchStateDataset(filepath=f"{f}/state.pth").load()),
    "checkpoint": (_checkpoint, lambda f: Checkpoints(f).load("state", "same")),
    "sb3 model": (_sb3, lambda f: Sb3ModelDataset(filepath=str(f / "final_model.zip")).load()),
    "policy": (_policy, lambda f: PolicyDataset(filepath=str(f / "policy.safetensors")).load()),
    "weights": (_weights, lambda f: load_weights(f / "unet.safetensors")),
    "tensors": (_tensors, lambda f: TensorsDataset(filepath=str(f / "x.safetensors")).load()),
    "arrays": (_arrays, lambda f: NpzDataset(filepath=str(f / "x.npz")).load()),
    "candidates": (_arrays, _load_candidates),
    "adapters": (_adapters, read_adapters),
    "bundle": (_bundle, load_bundle),
    "bundle archive": (_bundle_archive, lambda f: load_bundle(f / "bundle.zip")),
    "journal": (_journal, _look_through_journal),
    "ledger": (_ledger, lambda f: Ledger(f).get("samples")),
    **{
        name: (_annotations(document), lambda f: list(open_source(f)))
        for name, document in ANNOTATIONS.items()
    },
    "labelme": (_annotations(LABELME, "a.json"), lambda f: list(open_source(f))),
}  # fmt: skip
"""Kind → what writes its files into a folder, and what loads them from there."""


def files_of(kind, folder: Path) -> dict[str, bytes]:
    """Name → content of a good file, or files, of a kind; the folder is written to."""
    KINDS[kind][0](folder)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".md"
    }
