"""Every dataset of every pipeline is kept where the catalog says, and shown where it can be."""

import inspect
from pathlib import Path
from typing import get_type_hints

import pandas as pd
import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import MemoryDataset
from kedro.pipeline import Pipeline
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset

from vesselrl.datasets.figure import FigureDataset
from vesselrl.datasets.images import MaskDataset, PngImageDataset
from vesselrl.datasets.policy import PolicyDataset
from vesselrl.datasets.text import HtmlDataset
from vesselrl.evaluation.parameters import NETWORKS
from vesselrl.hooks.contents import HASHES
from vesselrl.rl.parameters import EXPERIMENTS, REGRESSORS

PIPELINES = [
    "__default__", "ingest", "segment", "segmenter", "reward_net", "rl_finetune", "experiments",
    "evaluation", "report", "predict",
]  # fmt: skip


@pytest.fixture(scope="module")
def context(project, tmp_path_factory):
    bootstrap_project(project)
    folders = {name: str(tmp_path_factory.mktemp(name)) for name in ("raw_dir", "out_dir")}
    with KedroSession.create(project, runtime_params=folders) as session:
        yield session.load_context()


@pytest.fixture(scope="module")
def catalog(context):
    return context.catalog


def datasets():
    """Names of all datasets of all pipelines, parameters left out."""
    whole = sum(pipelines.values(), Pipeline([]))
    return {name for name in whole.datasets() if name.split(":")[0] not in ("params", "parameters")}


def of_catalog(catalog):
    return {name: catalog.get(name) for name in datasets()}


def place(dataset):
    """The file or folder of a dataset."""
    attributes = ("_filepath", "_path", "_folder", "_weights", "_file")
    return Path(str(next(v for name in attributes if (v := getattr(dataset, name, None)))))


def test_the_promised_pipelines_are_registered(context):
    assert set(PIPELINES) <= set(pipelines)


def test_kedro_can_read_the_types_of_every_node_to_check_its_parameters(context):
    for node in sum(pipelines.values(), Pipeline([])).nodes:
        get_type_hints(node.func)


def test_every_dataset_of_every_pipeline_is_kept_on_disk(catalog):
    unkept = [
        name
        for name, dataset in of_catalog(catalog).items()
        if dataset is None or isinstance(dataset, MemoryDataset)
    ]
    assert not unkept


def test_everything_made_lies_below_out_dir(context, catalog):
    whole = sum((p for name, p in pipelines.items() if name != "sample"), Pipeline([]))
    out_dir = Path(context.params["out_dir"])
    outside = [n for n in whole.all_outputs() if out_dir not in place(catalog.get(n)).parents]
    assert not outside


GIVEN = {"finished_policies", "imported_results", "starting_weights"}
"""Datasets without a place of their own: parameters say where what they read is."""


def test_no_two_datasets_share_a_file(catalog):
    # an experiment's datasets share its folder, each with a file of its own
    places = {
        name: (place(dataset), getattr(dataset, "_file", None), type(dataset))
        for name, dataset in of_catalog(catalog).items()
        if name not in {"sample_images", "sample_annotations"} | GIVEN
    }
    assert len(set(places.values())) == len(places)


def test_every_catalog_entry_is_used_by_a_pipeline(context, catalog):
    used = datasets()
    matched = {catalog.config_resolver.match_dataset_pattern(name) for name in used}
    entries = {name for name in context.config_loader["catalog"] if not name.startswith("_")}
    assert not entries - used - matched


def test_hooks_and_nodes_remember_the_same_hashes(context, catalog):
    assert place(catalog.get("raw_hashes")) == Path(context.params["out_dir"]) / HASHES


def test_each_experiment_is_kept_in_a_folder_of_its_name(catalog):
    for experiment in EXPERIMENTS:
        for part in ("models", "policies", "histories", "training_infos", "run_folder"):
            assert place(catalog.get(f"{experiment}.{part}")).parts[-2:] == (
                "06_models",
                experiment,
            )


def test_only_what_the_user_may_leave_out_is_optional(catalog):
    optional = {
        name
        for name, dataset in of_catalog(catalog).items()
        if (getattr(dataset, "metadata", None) or {}).get("optional")
    }
    of_experiments = {
        f"{experiment}.{part}"
        for experiment in EXPERIMENTS
        for part in ("policies", "histories", "training_infos")
    }
    of_regressors = {
        f"{regressor}.{part}" for regressor in REGRESSORS for part in ("policies", "training_infos")
    }
    of_networks = {
        f"{pipeline}.{part}"
        for pipeline in NETWORKS
        for part in ("network_maps", "network_facts", "networks_in_use")
    } - {"sa2va_rl.networks_in_use"}  # its adapters are used by the segmenter
    in_the_report = {
        f"pixel_rl{part}"
        for part in (
            ".histories", ".training_infos", ".training_figure", "_dice_figure", "_gallery_figure",
        )
    }  # fmt: skip
    of_adapters = {"sa2va_rl.histories", "sa2va_rl.training_infos"}
    given = {"raw_groups", "raw_splits"}
    trained = of_experiments | of_regressors | of_networks | of_adapters
    assert optional == trained | in_the_report | given


def test_every_entry_has_a_layer_in_kedro_viz(catalog):
    layers = {
        name: (getattr(dataset, "metadata", None) or {}).get("kedro-viz", {}).get("layer")
        for name, dataset in of_catalog(catalog).items()
    }
    assert set(layers.values()) == {
        "raw", "intermediate", "primary", "feature", "model_input", "models", "model_output",
        "reporting",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "shown_as"),
    [
        (CSVDataset, "TablePreview"),
        (JSONDataset, "JSONPreview"),
        (FigureDataset, "ImagePreview"),
        (PngImageDataset, "ImagePreview"),
        (MaskDataset, "ImagePreview"),
        (HtmlDataset, "HTMLPreview"),
        (PolicyDataset, "JSONPreview"),
    ],
)
def test_kedro_viz_knows_how_to_show_a_dataset_by_what_its_preview_returns(kind, shown_as):
    annotation = inspect.signature(kind.preview).return_annotation
    assert getattr(annotation, "__name__", annotation) == shown_as  # as kedro_viz reads it


def test_tables_figures_and_pages_of_the_reports_can_be_shown(catalog):
    suffixes = {".csv": CSVDataset, ".json": JSONDataset, ".png": FigureDataset}
    reports = {
        name: dataset
        for name, dataset in of_catalog(catalog).items()
        if name not in GIVEN and "08_reporting" in str(place(dataset))
    }
    assert {place(dataset).suffix for dataset in reports.values()} == {*suffixes, ".html", ".md"}
    for name, dataset in reports.items():
        kind = (suffixes | {".html": HtmlDataset}).get(place(dataset).suffix)
        assert kind is None or isinstance(dataset, kind), name


@pytest.mark.parametrize("name", ["leaderboard", "costs"])
def test_kedro_viz_shows_every_method_of_a_comparison(catalog, name):
    table = pd.DataFrame({"method": [f"m{number}" for number in range(30)]})
    catalog.save(name, table)
    dataset = catalog.get(name)
    shown = dataset.preview(**dataset.metadata["kedro-viz"]["preview_args"])
    assert [row[0] for row in shown["data"]] == list(table["method"])


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        (
            "metrics_per_image",
            ["segmenter_calls", "seconds", "thin_recall", "thick_recall", "thin_share"],
        ),
        ("choices", ["threshold", "segmenter_calls", "seconds"]),
        (
            "costs",
            [
                "segmenter_calls", "encoder_passes", "seconds", "segmenter_seconds",
                "network_seconds", "other_seconds", "parameters", "training_seconds",
                "network_training_seconds", "configuration_lines",
            ],
        ),
        ("leaderboard", ["segmenter_calls", "seconds", "thin_recall", "difference_p"]),
    ],
)  # fmt: skip
def test_numbers_that_are_not_known_come_back_as_numbers(catalog, name, unknown):
    rows = [{"method": "m", "image": "i"} | dict.fromkeys(unknown, v) for v in (1.5, float("nan"))]
    catalog.save(name, pd.DataFrame(rows))
    assert all(kind.kind == "f" for kind in catalog.load(name)[unknown].dtypes)
