"""Files of every kind, changed or made to do harm: nothing of them runs, grows or is a crash."""

import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from hostile_files import KINDS, files_of, put, recipe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vesselrl import load_bundle
from vesselrl.bundle.content import RECIPE, WEIGHTS, recipe_files
from vesselrl.bundle.files import with_manifest
from vesselrl.errors import VesselrlError
from vesselrl.segmenters.parameters import SegmenterParameters

SHARED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Kind → name → content."""
    return {kind: files_of(kind, tmp_path_factory.mktemp("good")) for kind in KINDS}


def reader(kind):
    return KINDS[kind][1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_of_each_kind_is_read(kind, good, outcomes, tmp_path):
    put(tmp_path, good[kind])
    assert outcomes(reader(kind), [tmp_path]) == ["read"]


class Bomb:
    def __init__(self, crater):
        self.crater = crater

    def __reduce__(self):
        return os.mkdir, (self.crater,)


def bombs(crater):
    """Files that make a folder when something unpickles them, in every guise."""
    plain = [pickle.dumps(Bomb(crater), protocol) for protocol in range(6)]
    stream, legacy, arrays, array = (io.BytesIO() for _ in range(4))
    torch.save({"state": Bomb(crater), "fingerprint": "same"}, stream)
    torch.save({"state": Bomb(crater)}, legacy, _use_new_zipfile_serialization=False)
    objects = np.array([Bomb(crater)], dtype=object)
    np.savez(arrays, a=objects, keys=objects, allow_pickle=True)
    np.save(array, objects, allow_pickle=True)
    zips = []
    for name in ("data.pkl", "archive/data.pkl", "policy.pth", "data", "a.npy"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(name, plain[2])
        zips.append(archive.getvalue())
    return [*plain, *(s.getvalue() for s in (stream, legacy, arrays, array)), *zips]


@pytest.mark.parametrize("kind", KINDS)
def test_no_pickle_goes_off_whatever_file_it_is_in(kind, good, outcomes, tmp_path):
    crater = str(tmp_path / "crater")
    folders = []
    for number, bomb in enumerate(bombs(crater)):
        for place, name in enumerate(good[kind]):
            folders.append(tmp_path / f"{number}-{place}")
            put(folders[-1], good[kind] | {name: bomb})
    found = outcomes(reader(kind), folders)
    assert_told(found)
    assert not (tmp_path / "crater").exists()
    pickle.loads(bombs(crater)[0])  # it would have gone off
    assert (tmp_path / "crater").exists()


def assert_told(found):
    """That each was read, or refused in a sentence."""
    assert [one for one in found if one != "read" and not one.startswith("refused")] == []


def damages(content):
    """Content with some bytes changed, some put in or left out, or its end cut off."""
    place = st.integers(0, max(0, len(content) - 1)) | st.integers(0, min(400, len(content)))

    def apply(changes, cut):
        changed = bytearray(content)
        for where, kind, value in changes:
            if kind == 0:
                changed[where : where + 1] = bytes([value])
            elif kind == 1:
                changed[where:where] = bytes([value]) * 9
            else:
                del changed[where : where + value]
        return bytes(changed if cut is None else changed[:cut])

    change = st.tuples(place, st.integers(0, 2), st.integers(0, 255))
    return st.builds(
        apply, st.lists(change, min_size=1, max_size=6), st.none() | st.none() | st.none() | place
    )


AT_ONCE = 10
"""Files that one child process reads."""
LONG = pytest.param(50, marks=pytest.mark.faults)


@pytest.fixture
def require_told(outcomes, tmp_path_factory):
    """Lets ``read`` try folders into which ``content_of(data)`` is put, and no other file comes."""

    def require(read, examples, content_of):
        @settings(SHARED, max_examples=examples)
        @given(st.data())
        def check(data):
            root = tmp_path_factory.mktemp("tried")
            folders = [root / str(number) for number in range(AT_ONCE)]
            for folder in folders:
                put(folder, content_of(data))
            before = sorted(root.rglob("*"))
            assert_told(outcomes(read, folders))
            assert sorted(root.rglob("*")) == before
            shutil.rmtree(root)

        check()

    return require


@pytest.mark.parametrize("examples", [1, LONG])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused(kind, examples, good, require_told):
    content = good[kind]

    def damaged(data):
        name = data.draw(st.sampled_from(sorted(content)))
        return content | {name: data.draw(damages(content[name]))}

    require_told(reader(kind), examples, damaged)


VALUES = st.sampled_from(
    [None, True, 0, -1, 10**9, 10**30, 1e308, float("nan"), "", "x" * 5000, "../x", "/etc/passwd",
     [], {}, [[]], [10**6] * 6, [10**9] * 6, {"kind": "sa2va"}, [[1e308, 1e308]]]
)  # fmt: skip


def places(value):
    """Every dict or list within a value, with each key of it."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [(value, key) for key in keys] + [
        place for key in keys if isinstance(value[key], dict | list) for place in places(value[key])
    ]


def changed_values(data, document):
    """One to three values of a JSON document replaced or removed."""
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(places(document)))
        if data.draw(st.booleans()):
            holder[key] = data.draw(VALUES)
        elif isinstance(holder, dict):
            del holder[key]
        if not places(document):
            break
    return document


@pytest.mark.parametrize("examples", [2, LONG])
def test_a_bundle_of_any_other_content_is_read_or_refused(examples, require_told):
    content = recipe_files(recipe())

    def changed(data):
        told = changed_values(data, json.loads(content[RECIPE]))
        return with_manifest(content | {RECIPE: json.dumps(told).encode()})

    require_told(load_bundle, examples, changed)


@pytest.mark.parametrize("examples", [2, LONG])
@pytest.mark.parametrize(("kind", "name"), [("policy", "policy.json"), ("sb3 model", "data")])
def test_a_policy_that_tells_anything_else_is_read_or_refused(
    kind, name, examples, good, require_told
):
    content = good[kind]

    def with_settings(text):
        if kind == "policy":
            return content | {name: text}
        archive = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(content["final_model.zip"])) as old,
            zipfile.ZipFile(archive, "w") as new,
        ):
            new.writestr("data", text)
            new.writestr("policy.pth", old.read("policy.pth"))
        return {"final_model.zip": archive.getvalue()}

    if kind == "policy":
        document = json.loads(content[name])
    else:
        with zipfile.ZipFile(io.BytesIO(content["final_model.zip"])) as archive:
            document = json.loads(archive.read(name))

    def changed(data):
        told = changed_values(data, json.loads(json.dumps(document)))
        return with_settings(json.dumps(told).encode())

    require_told(reader(kind), examples, changed)


def archive_of(parts, compression=zipfile.ZIP_DEFLATED):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as opened:
        for name, content in parts.items():
            opened.writestr(name, content)
    return archive.getvalue()


ASKS_FOR_MEMORY = b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."  # two gigabytes


def torch_file_of(pickled, **parts):
    told = {"data.pkl": pickled, "version": "3\n", "byteorder": "little", **parts}
    return archive_of({f"archive/{name}": content for name, content in told.items()})


def torch_file_that_unpacks():
    stream = io.BytesIO()
    torch.save({"w": torch.zeros(10)}, stream)
    with zipfile.ZipFile(stream) as archive:
        return torch_file_of(archive.read("archive/data.pkl"), **{"data/0": bytes(2**27)})


def torch_file_that_repeats():
    stream = io.BytesIO()
    torch.save({"members": [{"w": torch.zeros(1).expand(2**20, 2**20)}]}, stream)
    return stream.getvalue()


def tensors_that_claim_more():
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def torch_file_of_old():
    stream = io.BytesIO()
    torch.save({"w": torch.zeros(10)}, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def arrays_that_unpack():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (2**33,)}
        )
        with archive.open("a.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(65):
                member.write(bytes(2**26))
    return stream.getvalue()


GROWING = {
    "a torch state that asks for memory": (
        "torch state", "state.pth", lambda: torch_file_of(ASKS_FOR_MEMORY), "neither a tensor",
    ),
    "a torch state that unpacks": (
        "torch state", "state.pth", torch_file_that_unpacks, "unpacks to more than its own size",
    ),
    "a torch state that repeats": (
        "torch state", "state.pth", torch_file_that_repeats, "of which fewer are stored",
    ),
    "tensors that claim more than there is": (
        "tensors", "x.safetensors", tensors_that_claim_more, "is damaged",
    ),
    "a torch state of old": (
        "torch state", "state.pth", torch_file_of_old, "not a zip file",
    ),
    "a policy that asks for memory": (
        "sb3 model", "final_model.zip",
        lambda: archive_of({"data": "{}", "policy.pth": torch_file_of(ASKS_FOR_MEMORY)}),
        "neither a tensor",
    ),
    "a policy that unpacks": (
        "sb3 model", "final_model.zip",
        lambda: archive_of({"data": b" " * (2**27 + 1), "policy.pth": b""}),
        "unpacks to more than",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GROWING)
def test_a_small_file_takes_no_large_memory(name, outcomes, tmp_path):
    kind, file, make, words = GROWING[name]
    put(tmp_path, {file: make()})
    assert (tmp_path / file).stat().st_size < 500_000
    (found,) = outcomes(reader(kind), [tmp_path])
    assert found.startswith("refused")
    assert words in found


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["arrays", "candidates"])
def test_arrays_that_unpack_to_more_than_there_is_are_refused(kind, outcomes, tmp_path):
    put(tmp_path, {"x.npz": arrays_that_unpack()})
    (found,) = outcomes(reader(kind), [tmp_path])
    assert "unpacks to more than" in found


def test_a_bundle_that_tells_of_a_huge_network_takes_no_memory(outcomes, tmp_path):
    content = recipe_files(recipe())
    told = json.loads(content[RECIPE])
    folders = []
    for number, change in enumerate(({"features": [20_000] * 6}, {"downscale": 4096})):
        told["recipe"]["reward_network"].update(change)
        folders.append(tmp_path / str(number))
        put(folders[-1], with_manifest(content | {RECIPE: json.dumps(told).encode()}))
    found = outcomes(load_bundle, folders)
    assert all("does not hold what a bundle holds" in one for one in found), found


def test_no_bundle_can_let_code_of_a_model_run(tmp_path):
    segmenter = SegmenterParameters.model_validate(
        {
            "kind": "sa2va", "path": "somebody/model", "revision": "a" * 40, "dtype": "float32",
            "quantisation": "none", "device": "cpu", "attention": "auto", "merge": "union",
            "default_prompt": "vessels", "prompts": {"vessels": {"text": "?"}},
        }
    )  # fmt: skip
    content = recipe_files(recipe()) | {WEIGHTS: recipe_files(recipe())[WEIGHTS]}
    told = json.loads(content[RECIPE])
    told["recipe"]["segmenter"] = segmenter.model_dump(mode="json")
    told["segmenter_model"] = {
        "name": "somebody/model", "revision": "a" * 40, "is_folder": False,
    }  # fmt: skip
    for number, setting in enumerate(({"trust_remote_code": True}, {"path": "/x"}, {})):
        changed = json.loads(json.dumps(told))
        changed["recipe"]["segmenter"].update(setting)
        put(tmp_path / str(number), with_manifest(content | {RECIPE: json.dumps(changed).encode()}))
    for number, setting in enumerate(("trust_remote_code", "path")):
        with pytest.raises(VesselrlError, match=f"sets segmenter.{setting}, which only who uses"):
            load_bundle(tmp_path / str(number))
    assert not load_bundle(tmp_path / "2").recipe.segmenter.trust_remote_code
