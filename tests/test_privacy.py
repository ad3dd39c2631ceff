"""With pseudonyms on, no original name is in anything that a whole run makes or says."""

import json
import os
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
from PIL import Image

SIDE = 64
NAME, GROUP = "Mustermann_Erika", "Zimmer-7"


@pytest.fixture(scope="module")
def ran(project, raw_dir, tmp_path_factory):
    """A quick run on files that carry a patient's name, one not an image, one without label.

    Somebody's finished masks carry it too.
    """
    named = tmp_path_factory.mktemp("named")
    (named / "images").mkdir()
    entries = json.loads((raw_dir / "annotations.json").read_text())
    groups = {}
    for entry in entries:
        file = f"{NAME}_{entry['image']}"
        (named / "images" / file).write_bytes((raw_dir / "images" / entry["image"]).read_bytes())
        groups[file] = f"{GROUP}-{entry['image'][:3]}"
        entry["image"] = file
    (named / "images" / f"{NAME}_broken.png").write_bytes(b"no image")
    entries.append({"image": f"{NAME}_broken.png", "mask": []})
    entries.append({"image": f"{NAME}_gone.png", "mask": []})
    unlabelled = Image.open(raw_dir / "images/p00_f0.png").transpose(Image.Transpose.ROTATE_90)
    unlabelled.save(named / "images" / f"{NAME}_unlabelled.png")
    (named / "annotations.json").write_text(json.dumps(entries))
    (named / "groups.json").write_text(json.dumps(groups))
    theirs = tmp_path_factory.mktemp(NAME)
    for entry in entries[:-2]:
        Image.new("1", (SIDE, SIDE)).save(theirs / entry["image"])
    Image.new("1", (SIDE, SIDE)).save(theirs / f"{NAME}_other.png")
    mine = {"kind": "imported", "path": str(theirs)}
    settings = project / "conf/local/parameters_given.yml"
    settings.write_text(json.dumps({"evaluation": {"methods": {"mine": mine}}}))
    out = tmp_path_factory.mktemp("out")
    done = subprocess.run(
        [
            sys.executable, "-m", "kedro", "run", "--params",
            "quick:true,pseudonymise:true,ingest.unannotated:unlabelled,"
            f"raw_dir={named},out_dir={out}",
        ],
        cwd=project, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "quick", done.stdout + done.stderr


def holds(data: bytes) -> bool:
    return any(text.encode(code) in data for text in (NAME, GROUP) for code in ("utf-8", "utf-16"))


def test_no_file_name_holds_an_original_name(ran):
    folder, _ = ran
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    assert len(names) > 100
    assert not [name for name in names if holds(name.encode())]


def test_no_file_holds_an_original_name_but_the_private_ones(ran):
    folder, _ = ran
    leaking = []
    for path in folder.rglob("*"):
        if path.is_file():
            parts = [path.read_bytes()]
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    parts += [archive.read(name) for name in archive.namelist()]
            if any(map(holds, parts)):
                leaking.append(str(path.relative_to(folder)))
    assert leaking
    assert all(name.startswith("00_private/") for name in leaking), leaking


def test_a_whole_run_takes_an_image_without_label_along(ran):
    folder, _ = ran
    samples = pd.read_csv(folder / "02_intermediate/samples.csv")
    (sample,) = samples.loc[samples["split"] == "unlabelled", "id"]
    assert (folder / f"04_feature/candidates/{sample}.npz").is_file()
    assert not (folder / f"03_primary/masks/{sample}.png").exists()
    report = (folder / "08_reporting/final_report.md").read_text()
    assert "1 image without labels" in report


def test_masks_that_carry_the_names_are_imported_under_ids(ran):
    folder, said = ran
    masks = list((folder / "07_model_output/mine/masks").iterdir())
    assert masks
    assert all(mask.name.startswith("img-") for mask in masks)
    assert "masks of no test image are ignored" in said


def test_nothing_said_holds_an_original_name(ran):
    _, said = ran
    assert "Report:" in said
    assert not holds(said.encode())


def test_the_private_folder_is_for_its_owner_alone_and_ignores_itself_in_git(ran):
    private = ran[0] / "00_private"
    assert private.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in private.iterdir())
    assert "*" in (private / ".gitignore").read_text().split()
