"""What the project and its catalog are made of, beside the data."""

from pathlib import Path
from typing import Any

from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from vesselrl import provenance
from vesselrl.hashes import ContentHashes, digest

HASHES = Path("cache/hashes.tsv")  # below out_dir; the catalog's raw_hashes is the same file
PREDICTIONS = Path("07_model_output/predict")  # likewise


def everything() -> Pipeline:
    """All registered pipelines as one."""
    return Pipeline({node for pipeline in pipelines.values() for node in pipeline.nodes})


def out_dir_of(catalog: Any) -> Path:
    """The folder under which this run writes."""
    return Path(catalog.load("params:out_dir"))


def is_optional(catalog: Any, name: str) -> bool:
    """Whether a dataset may be absent (``metadata: {optional: true}`` in the catalog)."""
    metadata = getattr(catalog.get(name), "metadata", None) or {}
    return bool(metadata.get("optional"))


def fingerprint_of_source(catalog: Any, name: str, hashes: ContentHashes) -> str:
    """The fingerprint of a dataset that no stage makes: the content of its file or folder.

    A dataset may have another in an attribute ``fingerprint``, or several paths in ``sources``.
    """
    dataset = catalog.get(name)
    if own := getattr(dataset, "fingerprint", None):
        return str(own)
    path = _path_of(catalog, name)
    paths = getattr(dataset, "sources", [path] if path else [])
    found = [provenance.digest_of_path(Path(one), hashes) for one in paths]
    return digest(found) if found else "none"


def listing(catalog: Any, name: str) -> str:
    """Tells whether a file of a dataset has gone or changed its size since it was written."""
    path = _path_of(catalog, name)
    return provenance.listing_of_path(path) if path else ""


def _path_of(catalog: Any, name: str) -> Path | None:
    """The file or folder of a dataset, None where it has none of its own."""
    dataset = catalog.get(name)
    path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
    return Path(str(path)) if path else None
