"""Nodes of the pipeline ``predict`` that make its results easy to look at: pages and pictures."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from vesselrl.annotations.parameters import IngestParameters
from vesselrl.pipelines.predict.nodes import Files, Makers, Predictions, with_mask
from vesselrl.prediction.parameters import PredictParameters
from vesselrl.progress import with_progress
from vesselrl.report.parameters import ReportParameters


def show_review_pictures(
    new_images: Files,
    new_frames: Any,
    new_entries: Any,
    new_file_names: Mapping[str, Any],
    ingest: IngestParameters,
) -> Any:
    """Every image as a PNG file, which the page on which masks are checked shows.

    Returns:
        `vesselrl.annotations.writing.Pictures`, made where they are saved.
    """
    from vesselrl.annotations.checking import version_of_ingest
    from vesselrl.annotations.writing import Pictures
    from vesselrl.prediction.images import image_loaders

    images = image_loaders(new_images, new_frames, new_entries, new_file_names, ingest.max_pixels)
    return Pictures(
        {
            row.id: f"{version_of_ingest()} {row.sha256} {row.frame}"
            for row in new_entries.itertuples()
        },
        lambda wanted: ((sample, images[sample]) for sample in wanted),
        "Writing pictures for review",
        ingest.workers,
    )


def write_review_page(
    quality: Any, recipe: Mapping[str, Any], predict: PredictParameters, report: ReportParameters
) -> str:
    """The page on which masks are checked, as HTML; see `vesselrl.prediction.review`.

    What the intervals are made to hold, the recipe tells: that of a bundle has its own coverage.
    """
    from vesselrl.prediction.review import render_review

    calibration = recipe["calibration"]
    folder = "labelme" if "labelme" in predict.formats else None
    return render_review(
        quality,
        predict.review.share,
        calibration["coverage"],
        calibration["groups"],
        folder,
        report.language,
    )


def animate_series(
    new_images: Files,
    new_frames: Any,
    new_entries: Any,
    new_file_names: Mapping[str, Any],
    new_predictions: Predictions,
    predict: PredictParameters,
    ingest: IngestParameters,
) -> Makers:
    """Each series with the contours of its masks as a moving picture.

    Returns:
        Name of the file → maker of its bytes: the name of the series, or, where names are replaced,
        the id of its first frame. Frames without a mask are left out.
    """
    from vesselrl.prediction.animation import animated
    from vesselrl.prediction.frames import ids_by_series
    from vesselrl.prediction.images import image_loaders

    form = predict.series.animation
    if form is None:
        return {}
    images = image_loaders(new_images, new_frames, new_entries, new_file_names, ingest.max_pixels)
    segmented = {entry.id for entry in with_mask(new_entries, new_predictions)}

    def make(frames: list[str]) -> bytes:
        shown = ((images[frame](), new_predictions[frame].mask()) for frame in frames)
        return animated(shown, form, predict.series.frames_per_second)

    makers: Makers = {}
    for name, frames in ids_by_series(new_frames, new_entries, new_file_names).items():
        shown = [frame for frame in frames if frame in segmented]
        if shown:
            public = frames[0] if new_file_names.get("files") else name
            makers[f"{public}.{form}"] = partial(make, shown)
    return with_progress(makers, "Writing animations", unit="series")
