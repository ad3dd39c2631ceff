"""Nodes of the pipeline ``predict``: images without labels in, masks and how good they are out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from vesselrl.annotations.parameters import AnnotationsParameters, IngestParameters
from vesselrl.distributed.parameters import RayParameters
from vesselrl.prediction.parameters import PredictParameters
from vesselrl.progress import with_progress
from vesselrl.segmenters.parameters import SegmenterParameters

if TYPE_CHECKING:
    from vesselrl.prediction.folder import StoredPrediction

    Predictions = Mapping[str, StoredPrediction]
else:  # it is heavy, and of nodes whose types have unknown names Kedro checks no parameters
    Predictions = Mapping[str, Any]

Files = Mapping[str, Callable[[], bytes]]
Makers = dict[str, Callable[[], Any]]

QUALITY_COLUMNS = [
    "image", "file", "width", "height", "dice", "dice_low", "dice_high", "recall", "precision",
    "out_of_distribution", "prompt", "threshold", "operations", "segmenter_calls", "seconds",
    "error",
]  # fmt: skip
SHOWN_BY_LABELME = (".png", ".jpg", ".jpeg", ".bmp")
LABEL = "vessel"
"""What masks show, in the formats that want a name for it."""


def list_new_frames(
    new_images: Files,
    new_hashes: Mapping[str, str],
    predict: PredictParameters,
    ingest: IngestParameters,
) -> dict[str, Any]:
    """Find the series among the images.

    Args:
        new_images: file name → loader of the file's bytes.
        new_hashes: name of a file → hash of its content.
        predict: whether folders are series.
        ingest: of which the size limit is read.

    Returns:
        See `vesselrl.prediction.frames.list_frames`.

    Raises:
        VesselrlError: see there; or there are series, and what shall animate them is not installed.
    """
    from vesselrl.prediction.animation import require_writer
    from vesselrl.prediction.frames import list_frames

    frames = list_frames(new_images, new_hashes, predict.series.folders, ingest.max_pixels)
    if frames:
        require_writer(predict.series.animation)  # not after hours of work
    return {name: dict(frame) for name, frame in frames.items()}


def check_new_images(
    new_images: Files,
    new_frames: Any,
    new_hashes: Mapping[str, str],
    earlier_new_checks: Any,
    pseudonym_key: Callable[[], bytes],
    pseudonymise: bool,
    annotations: AnnotationsParameters,
    ingest: IngestParameters,
) -> tuple[Any, Any, dict[str, Any]]:
    """Accept or quarantine every file of the folder, as ``ingest`` does with images.

    Args:
        new_images: file name → loader of the file's bytes.
        new_frames: see `list_new_frames`; a frame of a file is an image of its own.
        new_hashes: name of a file → hash of its content.
        earlier_new_checks: what was found in earlier runs; what is found in this one is added.
        pseudonym_key: gives the key of the pseudonyms.
        pseudonymise: whether names are replaced.
        annotations: see `vesselrl.pipelines.ingest.nodes.check_annotations`.
        ingest: of which the size limit and the number of processes are read.

    Returns:
        The accepted images, a table with a row each: ``id``, ``file``, ``frame``, ``width``,
        ``height``, ``sha256`` and more; the quarantine, a table; and what the pseudonyms in both
        stand for. See `vesselrl.pipelines.ingest.nodes.check_annotations`.

    Raises:
        VesselrlError: there are no images, or none can be used.
    """
    from vesselrl.annotations.sources import of_images
    from vesselrl.pipelines.ingest.nodes import check_annotations
    from vesselrl.prediction.frames import FrameFolder, ids_with_frames

    images = FrameFolder(new_images, new_frames, ingest.max_pixels)
    source = of_images(images, "input_dir")
    accepted, quarantine, names = check_annotations(
        lambda *_: source,
        images,
        {f"images/{name}": content for name, content in images.contents(new_hashes).items()},
        earlier_new_checks,
        pseudonym_key,
        pseudonymise,
        annotations,
        # what stops a run over labels is no reason to leave the other images without masks
        ingest.model_copy(update={"strict": False, "unannotated": "ignore"}),
    )
    if not pseudonymise:
        ids = dict(zip(accepted["file"], accepted["id"], strict=True))
        accepted["id"] = accepted["file"].map(ids_with_frames(ids, new_frames))
    return accepted, quarantine, names


def predict_images(
    new_images: Files,
    new_frames: Any,
    new_entries: Any,
    new_file_names: Mapping[str, Any],
    recipe: dict[str, Any],
    segmenter: SegmenterParameters,
    predict: PredictParameters,
    ingest: IngestParameters,
    ray: RayParameters,
) -> Any:
    """Segment every image, and rate each mask, one image in memory at a time.

    Of series a few neighbouring frames are in memory, which choose together; see
    `vesselrl.prediction.series`.

    Args:
        new_images: file name → loader of the file's bytes.
        new_frames: see `list_new_frames`.
        new_entries: see `check_new_images`.
        new_file_names: what the pseudonyms of files stand for.
        recipe: state of a `vesselrl.prediction.recipe.Recipe`.
        segmenter: of the recipe, with the paths of its files, and on which devices.
        predict: whether maps are kept, and how many frames choose together.
        ingest: of which the size limit is read.
        ray: the workers on Ray, if there are any, on which it runs instead.

    Returns:
        `vesselrl.prediction.folder.PendingPredictions`, made where they are saved.
    """
    from vesselrl.annotations.checking import version_of_ingest
    from vesselrl.prediction.folder import PendingPredictions
    from vesselrl.prediction.frames import batched, ids_by_series, windows
    from vesselrl.prediction.images import image_loaders
    from vesselrl.prediction.predictor import Predictor
    from vesselrl.prediction.recipe import Recipe, digest_of_recipe
    from vesselrl.prediction.series import Ballot, SeriesPredictor

    made_by = f"{digest_of_recipe(recipe, segmenter.kind)} {version_of_ingest()}"
    images = image_loaders(new_images, new_frames, new_entries, new_file_names, ingest.max_pixels)
    contents = {row.id: f"{row.sha256} {row.frame}" for row in new_entries.itertuples()}
    around: dict[str, Sequence[str]] = {sample: [sample] for sample in images}
    batches: dict[str, str] = {}
    for series in ids_by_series(new_frames, new_entries, new_file_names).values():
        for sample in series:
            del around[sample]  # one after the other they come below
        around |= windows(series, predict.series.window)
        batches |= batched(series)
    predictor = Predictor(Recipe.from_state(recipe, segmenter))
    return PendingPredictions(
        images={
            sample: Ballot(sample, {voter: images[voter] for voter in voters})
            for sample, voters in around.items()
        },
        keys={
            sample: " ".join(
                [made_by, contents[sample], *(contents[v] for v in voters if len(voters) > 1)]
            )
            for sample, voters in around.items()
        },
        predict=SeriesPredictor(predictor, predict.series.window).predict,
        prepare=predictor.prepare,
        probability_maps=predict.probability_maps,
        batches=batches,
        devices=segmenter.devices,
        ray=ray,
    )


def tabulate_quality(new_entries: Any, new_predictions: Predictions) -> Any:
    """How far each mask may be trusted, the least predicted Dice first.

    Returns:
        A table with the columns `QUALITY_COLUMNS`; images without a mask are its first rows, and
        say why in ``error``.
    """
    import pandas as pd

    rows = [
        {
            "image": entry.id,
            "file": entry.file,
            "width": entry.width,
            "height": entry.height,
            **new_predictions[entry.id].scores,
        }
        for entry in new_entries.itertuples()
    ]
    table = pd.DataFrame(rows, columns=QUALITY_COLUMNS)
    return table.sort_values(["dice", "image"], na_position="first", ignore_index=True)


def export_annotations(new_entries: Any, new_predictions: Predictions) -> Makers:
    """Every mask as polygons that give it back, pixel for pixel.

    Returns:
        Id → maker of an entry of ``annotations.json``, in its flat form; images without a mask are
        left out.
    """
    entries = list(with_mask(new_entries, new_predictions))
    polygons = _polygons(entries, new_predictions)

    def make(entry: Any) -> dict[str, Any]:
        return {"image": entry.file, "mask": polygons[entry.id]()}

    makers: Makers = {entry.id: partial(make, entry) for entry in entries}
    return with_progress(makers, "Writing annotations")


def export_labelme(
    new_images: Files,
    new_frames: Any,
    new_entries: Any,
    new_file_names: Mapping[str, Any],
    new_predictions: Predictions,
    predict: PredictParameters,
    ingest: IngestParameters,
) -> Makers:
    """Every mask as a file to be corrected with LabelMe, and its image beside it.

    The image keeps its name, so that the corrected file is about the same image wherever that is;
    but what LabelMe does not show, lies in a folder or must not be named is there as ``<id>.png``.

    Returns:
        Id → maker of the document and of the bytes of the image file; none if LabelMe is not among
        the formats.
    """
    from vesselrl.annotations.folder import read
    from vesselrl.annotations.labelme import labelme_document
    from vesselrl.prediction.images import image_loaders

    if "labelme" not in predict.formats:
        return {}
    images = image_loaders(new_images, new_frames, new_entries, new_file_names, ingest.max_pixels)
    entries = list(with_mask(new_entries, new_predictions))
    polygons = _polygons(entries, new_predictions)

    def make(entry: Any) -> tuple[dict[str, Any], bytes]:
        keeps_name = not (new_file_names.get("files") or entry.frame or "/" in entry.file)
        shown = keeps_name and entry.file.lower().endswith(SHOWN_BY_LABELME)
        name = entry.file if shown else f"{entry.id}.png"
        is_png = name.lower().endswith(".png")
        picture = images[entry.id].png() if is_png else read(new_images, entry.file)
        size = int(entry.height), int(entry.width)
        return labelme_document(name, polygons[entry.id](), *size, LABEL), picture

    makers: Makers = {entry.id: partial(make, entry) for entry in entries}
    return with_progress(makers, "Writing LabelMe files")


def export_coco(
    new_entries: Any, new_predictions: Predictions, predict: PredictParameters
) -> dict[str, Any]:
    """Every mask as COCO has it.

    Returns:
        ``images``, ``categories``, and ``annotations``, id → maker; nothing if COCO is not among
        the formats.
    """
    from vesselrl.annotations.coco import coco_annotation, coco_header

    if "coco" not in predict.formats:
        return {}
    entries = list(with_mask(new_entries, new_predictions))

    def make(number: int, sample: str) -> dict[str, Any]:
        return coco_annotation(number, new_predictions[sample].mask())

    makers = {entry.id: partial(make, n, entry.id) for n, entry in enumerate(entries, 1)}
    return {
        **coco_header(((e.file, int(e.width), int(e.height)) for e in entries), LABEL),
        "annotations": with_progress(makers, "Writing COCO"),
    }


def _polygons(entries: Sequence[Any], new_predictions: Predictions) -> Makers:
    """Id → maker of the polygons of its mask, all of them made over the cores of this machine."""
    from vesselrl.ahead import made_ahead
    from vesselrl.annotations.polygons import polygonise

    loaders = {entry.id: new_predictions[entry.id].mask for entry in entries}
    return made_ahead(polygonise, loaders, list(loaders))  # pseudonyms are not in order


def with_mask(new_entries: Any, new_predictions: Predictions) -> Iterator[Any]:
    """The rows of the images that could be segmented."""
    for entry in new_entries.itertuples():
        if not new_predictions[entry.id].scores["error"]:
            yield entry
