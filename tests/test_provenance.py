import pytest
from kedro.pipeline import Pipeline, node
from pydantic import BaseModel

from vesselrl import provenance
from vesselrl.hashes import ContentHashes
from vesselrl.provenance import (
    Ledger,
    Record,
    digest,
    digest_of_path,
    expected_fingerprints,
    listing_of_path,
    nodes_to_refresh,
)


class Settings(BaseModel):
    alpha: float
    names: tuple[str, ...] = ()


def clean(raw, alpha):
    return raw


def model(cleaned, seed):
    return cleaned


def score(model, truth):
    return model, truth


def clean_otherwise(raw, alpha):
    return raw


def toy(first=clean):
    """raw → cleaned → model → scores, chart; truth, which is optional, joins at the end."""
    return Pipeline(
        [
            node(first, ["raw", "params:alpha"], "cleaned", name="clean"),
            node(model, ["cleaned", "params:seed"], "model", name="model"),
            node(score, ["model", "truth"], ["scores", "chart"], name="score"),
        ]
    )


def expected(pipeline=None, absent=(), raw="content 1", **parameters):
    values = {"params:alpha": 0.1, "params:seed": 1} | {
        f"params:{name}": value for name, value in parameters.items()
    }
    sources = {"raw": raw, "truth": "content 2"}
    return expected_fingerprints(pipeline or toy(), values.__getitem__, sources.__getitem__, absent)


def changed(other):
    return {name for name, fingerprint in expected().items() if fingerprint != other[name]}


EVERYTHING = {"cleaned", "model", "scores", "chart"}


@pytest.mark.parametrize(
    ("other", "stale"),
    [
        ({}, set()),
        ({"alpha": 0.2}, EVERYTHING),
        ({"seed": 2}, {"model", "scores", "chart"}),
        ({"raw": "content 3"}, EVERYTHING | {"raw"}),
        ({"absent": ["truth"]}, {"scores", "chart"}),
        ({"pipeline": toy(clean_otherwise)}, EVERYTHING),
    ],
)
def test_a_fingerprint_changes_with_all_that_is_upstream_and_nothing_else(other, stale):
    fingerprints = {"truth": "content 2"} | expected(**other)
    assert changed(fingerprints) == stale


def test_a_new_version_of_the_package_makes_everything_stale(monkeypatch):
    before = expected()
    monkeypatch.setattr(provenance, "__version__", "0.0.0.other")
    assert {name for name in before if before[name] != expected()[name]} == EVERYTHING


def test_outputs_of_one_node_are_told_apart():
    fingerprints = expected()
    assert fingerprints["scores"] != fingerprints["chart"]


@pytest.mark.parametrize(
    ("wanted", "stale", "run"),
    [
        (["scores"], set(), []),
        (["scores"], EVERYTHING, ["clean", "model", "score"]),
        (["model"], EVERYTHING, ["clean", "model"]),
        (["scores"], {"scores"}, ["score"]),
        (["scores"], {"scores", "cleaned"}, ["score"]),  # the model in between is fresh
        (["scores", "chart"], {"scores", "chart"}, ["score"]),
        (["raw", "params:seed"], EVERYTHING, []),
        (["unheard of"], EVERYTHING, []),
    ],
)
def test_no_more_nodes_run_than_are_needed(wanted, stale, run):
    nodes = nodes_to_refresh(toy(), wanted, lambda name: name not in stale)
    assert sorted(one.name for one in nodes) == run


def test_a_digest_sees_values():
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


def test_a_model_has_the_digest_of_its_values():
    assert digest(Settings(alpha=0.1)) == digest({"alpha": 0.1, "names": []})
    assert digest({"x": Settings(alpha=0.1)}) != digest({"x": Settings(alpha=0.2)})


def test_a_folder_has_the_digest_of_its_files_names_and_contents(tmp_path):
    one, other = tmp_path / "one" / "data", tmp_path / "other" / "data"

    def digest_of(path):
        return digest_of_path(path, ContentHashes(tmp_path / "hashes.tsv"))

    for folder in (one, other):
        (folder / "deep").mkdir(parents=True)
        (folder / "a.txt").write_text("a")
        (folder / "deep" / "b.txt").write_text("b")
    same = digest_of(one)
    assert same == digest_of(other)
    (other / "deep" / "b.txt").write_text("c")
    assert digest_of(other) != same
    (other / "deep" / "b.txt").write_text("b")
    assert digest_of(other) == same
    (other / "a.txt").rename(other / "c.txt")
    assert digest_of(other) != same
    assert digest_of(tmp_path / "nowhere") == "absent"
    assert digest_of(one / "a.txt") not in (same, "absent")


def test_the_order_of_keys_is_part_of_a_digest():
    assert digest({"a": 1, "b": 2}) != digest({"b": 2, "a": 1})


def test_a_listing_tells_a_file_that_is_gone_new_or_of_another_size(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a", "b", "sub/c"):
        (tmp_path / name).write_text("1")
    before = listing_of_path(tmp_path)
    (tmp_path / ".hidden").write_text("1")
    assert listing_of_path(tmp_path) == before
    (tmp_path / "a").write_text("22")
    assert listing_of_path(tmp_path) != before
    (tmp_path / "a").write_text("1")
    assert listing_of_path(tmp_path) == before
    (tmp_path / "sub/c").unlink()
    assert listing_of_path(tmp_path) != before
    assert listing_of_path(tmp_path / "b") != listing_of_path(tmp_path)


def test_the_ledger_remembers_across_runs_and_forgets_what_is_rewritten(tmp_path):
    first = Ledger(tmp_path / "out")
    assert first.get("a") is None
    first.record("a", Record("1", "x"))
    first.record("b", Record("2", ""))
    first.forget("b")
    first.forget("never recorded")
    assert first.get("a") == Record("1", "x")
    assert first.get("b") is None
    second = Ledger(tmp_path / "out")
    assert second.get("a") == Record("1", "x")
    assert second.get("b") is None


def test_a_ledger_that_was_only_read_writes_nothing(tmp_path):
    Ledger(tmp_path / "out").forget("a")
    assert list(tmp_path.iterdir()) == []


def test_two_ledgers_of_one_folder_keep_each_other_s_records(tmp_path):
    one, other = Ledger(tmp_path), Ledger(tmp_path)
    one.record("a", Record("1", ""))
    other.record("b", Record("2", ""))
    one.forget("a")
    assert Ledger(tmp_path).get("a") is None
    assert Ledger(tmp_path).get("b") == Record("2", "")


@pytest.mark.parametrize("text", ["", '{"a": ', "[]", "7", '{"a": "1"}', '{"a": ["1"]}'])
def test_a_damaged_ledger_counts_as_empty(tmp_path, text):
    (tmp_path / "fingerprints.json").write_text(text)
    ledger = Ledger(tmp_path)
    assert ledger.get("a") is None
    ledger.record("a", Record("1", ""))
    assert Ledger(tmp_path).get("a") == Record("1", "")
