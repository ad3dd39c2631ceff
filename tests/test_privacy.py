"""With pseudonyms on, no original name is in anything that whole runs make or say.

Names stand wherever somebody may have put them: in names of files and folders, groups, texts, DICOM
elements, EXIF and PNG texts, in files that are refused and in somebody's finished masks.
"""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from vesselrl.errors import VesselrlError
from vesselrl.hooks.privacy import PrivacyHooks

SIDE = 64
NAME = "Mustermann_Erika"
PLANTED = (NAME, "Zimmer-7", "Mustermann^Erika", "PID4711", "19500102", "1.2.840.99999.4711",
           "Klinik Heidelberg", "Befund 4711")  # fmt: skip
"""A file, a group, and what DICOM elements, EXIF and PNG texts, folders and phrases hold."""
_, GROUP, PATIENT, NUMBER, BORN, UID, HOSPITAL, PHRASE = PLANTED


def forms(name: str) -> list[bytes]:
    """A name as files may hold it: as text, and in base64 wherever it begins."""
    plain = name.encode()
    coded = [
        base64.b64encode(b"\0" * skip + plain)[-(-8 * skip // 6) : 8 * (skip + len(plain)) // 6]
        for skip in range(3)
    ]
    return [plain, name.encode("utf-16-le"), name.encode("utf-16-be"), *coded]


FORMS = re.compile(b"|".join(re.escape(form) for name in PLANTED for form in forms(name)))


def holds(data: bytes) -> bool:
    return bool(FORMS.search(data))


def dicom(pixels: np.ndarray) -> bytes:
    """A DICOM file, (H, W) or several frames of that, with all that tells whose it is."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = UID
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, UID
    image.StudyInstanceUID = image.SeriesInstanceUID = UID
    image.PatientName, image.PatientID, image.PatientBirthDate = PATIENT, NUMBER, BORN
    image.InstitutionName, image.SeriesDescription = HOSPITAL, PHRASE
    image.Rows, image.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        image.NumberOfFrames = len(pixels)
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PixelData = pixels.tobytes()
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def save_with_texts(image: Image.Image, path: Path) -> None:
    """In the format of the path's ending, with a name in all that it has for texts."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x8298] = PHRASE, PATIENT, HOSPITAL
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Patient", PATIENT)
    texts.add_text("Institution", HOSPITAL, zip=True)
    texts.add_itxt("Befund", PHRASE, zip=True)
    more = {"pnginfo": texts} if path.suffix == ".png" else {"comment": PATIENT.encode()}
    image.save(path, exif=exif, **more)


def labelled(folder: Path, raw_dir: Path) -> dict[str, str]:
    """Labels whose images carry names in every way, and such as are refused.

    Returns:
        File → group.
    """
    (folder / "images").mkdir(parents=True)
    entries, groups = [], {}
    for number, entry in enumerate(json.loads((raw_dir / "annotations.json").read_text())):
        image = Image.open(raw_dir / "images" / entry["image"])
        file = f"{NAME}_{Path(entry['image']).stem}" + (".dcm", ".jpg", ".tif", ".png")[number % 4]
        if file.endswith(".dcm"):
            (folder / "images" / file).write_bytes(dicom(np.array(image)))
        else:
            save_with_texts(image, folder / "images" / file)
        groups[file] = f"{GROUP}-{entry['image'][:3]}"
        entries.append({"image": file, "mask": entry["mask"], "text": PHRASE})
    first = folder / "images" / entries[0]["image"]
    (folder / "images" / f"{NAME}_broken.png").write_bytes(b"no image")
    (folder / "images" / f"{NAME}_broken.dcm").write_bytes(first.read_bytes()[:-900])
    refused = [
        {"image": f"{NAME}_broken.png", "mask": []},
        {"image": f"{NAME}_broken.dcm", "mask": []},
        {"image": f"{NAME}_gone.png", "mask": []},
        {"image": f"../{NAME}.png", "mask": []},
        {"image": str(first), "mask": []},
        {"image_path": first.name, "mask": []},
        {"image": first.name, "mask": PHRASE},
        {"image": first.name, "mask": [], PATIENT: HOSPITAL},
        entries[0],
        PATIENT,
    ]
    unlabelled = Image.open(raw_dir / "images/p00_f0.png").transpose(Image.Transpose.ROTATE_90)
    unlabelled.save(folder / "images" / f"{NAME}_unlabelled.png")
    correction = {
        "imagePath": f"C:\\{PATIENT}\\{entries[1]['image']}",
        "shapes": [{"label": PHRASE, "points": [[20, 4], [40, 30], [20, 59]]}],
    }
    (folder / "images" / f"{NAME}_corrected.json").write_text(json.dumps(correction))
    (folder / "images" / f"{NAME}_damaged.json").write_text('{"shapes": ')
    (folder / "annotations.json").write_text(json.dumps([*entries, *refused]))
    nowhere = {f"{NAME}_nowhere.png": GROUP}
    (folder / "groups.json").write_text(json.dumps(groups | nowhere))
    return groups


def unlabelled(folder: Path, raw_dir: Path) -> None:
    """New images: alone, in a file of several, in a folder that is a series, twice, and broken."""
    (folder / GROUP).mkdir(parents=True)
    drawn = [Image.open(raw_dir / f"images/p0{n}_f0.png") for n in range(6)]
    save_with_texts(drawn[0], folder / f"{NAME}_1.png")
    save_with_texts(drawn[1], folder / f"{NAME}_2.jpg")
    shutil.copy(folder / f"{NAME}_1.png", folder / f"{NAME}_again.png")
    (folder / f"{NAME}_3.dcm").write_bytes(dicom(np.stack(drawn[2:4])))
    drawn[4].save(folder / f"{NAME}_4.gif", save_all=True, append_images=drawn[5:], comment=PHRASE)
    drawn[5].save(folder / f"{NAME}_4_0001.png")  # as the first frame of the file would be called
    for number in range(2):
        drawn[4 + number].save(folder / GROUP / f"{NAME}_{number}.png")
    (folder / f"{NAME}_broken.png").write_bytes(PATIENT.encode())
    (folder / f"{NAME}_broken.dcm").write_bytes((folder / f"{NAME}_3.dcm").read_bytes()[:-5000])


def kedro_run(project: Path, pipelines: str, params: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", pipelines, "--params", params]
    return subprocess.run(
        command, cwd=project, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran(project, raw_dir, tmp_path_factory):
    """A quick run, predictions and a bundle, of files and finished masks that carry names.

    An earlier ingest without pseudonyms left its names in the same folder.
    """
    named, new = (tmp_path_factory.mktemp("data") / HOSPITAL for _ in range(2))
    groups = labelled(named, raw_dir)
    unlabelled(new, raw_dir)
    theirs = tmp_path_factory.mktemp(NAME)
    for file in [*groups, f"{NAME}_other.png"]:
        Image.new("1", (SIDE, SIDE)).save((theirs / file).with_suffix(".png"))
    mine = {"kind": "imported", "path": str(theirs)}
    settings = project / "conf/local/parameters_given.yml"
    settings.write_text(json.dumps({"evaluation": {"methods": {"mine": mine}}}))
    out = tmp_path_factory.mktemp("out")
    given = f"quick:true,raw_dir={named},out_dir={out}"
    before = kedro_run(project, "ingest", given)
    assert before.returncode == 0, before.stderr
    corrected = out / "quick/07_model_output/predict/labelme" / f"{NAME}.json"
    corrected.parent.mkdir(parents=True)
    corrected.write_text(json.dumps({"imagePath": f"{NAME}.png", "shapes": []}))
    assert len(leaking(out)) > 5
    done = kedro_run(
        project,
        "__default__,predict,bundle",
        "pseudonymise:true,ingest.unannotated:unlabelled,bundling.zip:true,predict.formats:"
        "[labelme,coco],predict.probability_maps:true,predict.series.folders:true,"
        f"input_dir={new},{given}",
    )
    assert done.returncode == 0, done.stderr
    return out / "quick", done.stdout + done.stderr, groups


def contents(data: bytes) -> Iterator[bytes]:
    """What a file holds: its bytes, members of archives, texts of pictures, embedded pictures."""
    yield data
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                yield from (member.filename.encode(), member.comment, member.extra)
                yield from contents(archive.read(member))
    if data.startswith((b"\x89PNG", b"GIF8", b"\xff\xd8")):
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            yield repr(picture.info).encode()
    for embedded in re.findall(rb"data:image/\w+;base64,([\w+/=]+)", data):
        yield from contents(base64.b64decode(embedded))


def leaking(folder: Path) -> list[str]:
    """Files with a name in what they are called or hold."""
    return [
        name
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (name := path.relative_to(folder).as_posix())
        if holds(name.encode()) or any(map(holds, contents(path.read_bytes())))
    ]


def test_a_name_is_found_however_deep_it_lies(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("of", f"{PATIENT}, {PATIENT}", zip=True)
    Image.new("L", (8, 8)).save(tmp_path / "a.png", pnginfo=texts)
    packed = (tmp_path / "a.png").read_bytes()
    page = b"<img src='data:image/png;base64," + base64.b64encode(packed) + b"'>"
    assert PATIENT.encode() not in packed
    (tmp_path / "b.html").write_bytes(page)
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("page.html", page)
    (tmp_path / "d.txt").write_bytes(base64.b64encode(b"xx" + NAME.encode()))
    (tmp_path / "e.txt").write_text("nobody")
    assert leaking(tmp_path) == ["a.png", "b.html", "c.zip", "d.txt"]


def test_no_file_tells_an_original_name_but_the_private_ones(ran):
    folder, _, _ = ran
    assert len([path for path in folder.rglob("*") if path.is_file()]) > 200
    found = leaking(folder)
    assert found
    assert all(name.startswith("00_private/") for name in found), found


def test_what_was_made_with_names_is_kept_in_the_private_folder(ran):
    folder, said, _ = ran
    (corrected,) = folder.glob(f"00_private/earlier/*/07_model_output/predict/labelme/{NAME}.json")
    assert json.loads(corrected.read_text())["imagePath"] == f"{NAME}.png"
    assert list(folder.glob("00_private/earlier/*/logs/ingest_*.log"))
    assert "held results made without pseudonyms" in said


def hiding_names(out_dir):
    settings = {"params:out_dir": str(out_dir), "params:pseudonymise": True}
    return DataCatalog({name: MemoryDataset(value) for name, value in settings.items()})


@pytest.mark.parametrize(
    "link", ["07_model_output", "07_model_output/predict", "08_reporting/metrics.csv"]
)
def test_results_behind_a_link_stop_the_run_before_anything_is_put_away(tmp_path, link):
    out_dir, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    for made in ("02_intermediate", link):
        (out_dir / made).parent.mkdir(parents=True, exist_ok=True)
    (out_dir / "02_intermediate").mkdir()
    elsewhere.mkdir()
    (elsewhere / f"{NAME}.png").touch()
    (out_dir / link).symlink_to(elsewhere / f"{NAME}.png" if "." in link else elsewhere)
    before = sorted(out_dir.rglob("*"))
    hooks = PrivacyHooks()
    for _ in range(2):  # it is not forgotten
        with pytest.raises(VesselrlError, match=f"{link} is a link to {elsewhere}.*remove the li"):
            hooks.before_pipeline_run(hiding_names(out_dir))
        assert sorted(out_dir.rglob("*")) == before
    (out_dir / link).unlink()
    hooks.before_pipeline_run(hiding_names(out_dir))
    assert not (out_dir / "02_intermediate").exists()
    assert (elsewhere / f"{NAME}.png").exists()


def test_a_link_to_itself_stops_the_run_in_a_sentence(tmp_path):
    (tmp_path / "02_intermediate").mkdir()
    (tmp_path / "08_reporting").symlink_to(tmp_path / "08_reporting")
    with pytest.raises(VesselrlError, match="08_reporting is a link to"):
        PrivacyHooks().before_pipeline_run(hiding_names(tmp_path))


@pytest.mark.parametrize(
    ("log", "stays"), [("apache.log", True), ("ingest_2026-01-31T12-00-00.log", False)]
)
def test_logs_are_put_away_if_they_are_of_a_run(tmp_path, log, stays):
    for name in (f"logs/{log}", "cache/of.somebody"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    PrivacyHooks().before_pipeline_run(hiding_names(tmp_path))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"fingerprints.json", *(["cache", "logs"] if stays else ["00_private"])}


def test_what_is_put_away_at_the_same_time_is_all_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *_: "2026-01-31T12-00-00")
    for _ in range(2):
        (tmp_path / "06_models").mkdir()
        PrivacyHooks().before_pipeline_run(hiding_names(tmp_path))
        (tmp_path / "fingerprints.json").unlink()
    assert len(list(tmp_path.glob("00_private/earlier/*/06_models"))) == 2


def test_results_are_not_replaced_by_those_of_another_folder_whose_name_is_hidden(ran, project):
    folder, _, _ = ran
    params = f"quick:true,pseudonymise:true,out_dir={folder.parent}"
    done = kedro_run(project, "ingest", params)
    assert done.returncode == 1
    assert "holds results made from <another folder>" in done.stderr
    assert not holds((done.stdout + done.stderr).encode())


def test_nothing_is_left_in_the_project(ran, project):
    assert not [name for name in leaking(project) if not name.startswith("conf/local/")]


def test_no_file_holds_a_hash_from_which_a_group_could_be_guessed(ran):
    folder, _, groups = ran
    guesses = [hashlib.sha256(group.encode()).hexdigest()[:16] for group in set(groups.values())]
    guessed = re.compile("|".join(guesses).encode())
    for path in folder.rglob("*"):
        if path.is_file():
            assert not any(guessed.search(part) for part in contents(path.read_bytes())), path


def test_everything_that_could_be_told_was_made(ran):
    folder, _, groups = ran
    made = folder / "07_model_output/predict"
    for kind in (
        "masks/*.png", "errors/*.png", "probabilities/*.png", "review/*.png", "review.html",
        "labelme/*.json", "coco.json", "annotations.json",
    ):  # fmt: skip
        assert list(made.glob(kind)), kind
    assert len(list(made.glob("series/*.gif"))) == 3
    assert len(pd.read_csv(made / "quarantine.csv")) == 3
    assert len(pd.read_csv(folder / "02_intermediate/quarantine.csv")) >= 10
    assert (folder / "06_models/bundle.zip").is_file()
    assert list(folder.rglob("events.out.tfevents.*"))
    names = json.loads((folder / "00_private/file_names.json").read_text())["files"]
    assert set(groups) <= set(names.values())


def test_a_name_in_groups_json_that_no_image_has_is_told_by_a_pseudonym(ran):
    folder, said, _ = ran
    (told,) = re.findall(r"Names in groups.json that no file in images/ has: 1 \(([^)]*)\)", said)
    names = json.loads((folder / "00_private/group_names.json").read_text())["files"]
    assert names == {told: f"{NAME}_nowhere.png"}


def test_a_whole_run_takes_an_image_without_label_along(ran):
    folder, _, _ = ran
    samples = pd.read_csv(folder / "02_intermediate/samples.csv")
    (sample,) = samples.loc[samples["split"] == "unlabelled", "id"]
    assert (folder / f"04_feature/candidates/{sample}.npz").is_file()
    assert not (folder / f"03_primary/masks/{sample}.png").exists()
    report = (folder / "08_reporting/final_report.md").read_text()
    assert "1 image without labels" in report


def test_masks_that_carry_the_names_are_imported_under_ids(ran):
    folder, said, _ = ran
    masks = list((folder / "07_model_output/mine/masks").iterdir())
    assert masks
    assert all(mask.name.startswith("img-") for mask in masks)
    assert "masks of no test image are ignored" in said


def test_nothing_said_holds_an_original_name(ran):
    _, said, _ = ran
    assert "Report:" in said
    assert not holds(said.encode())


def test_the_private_folder_is_for_its_owner_alone_and_ignores_itself_in_git(ran):
    private = ran[0] / "00_private"
    assert private.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in private.iterdir())
    assert "*" in (private / ".gitignore").read_text().split()
