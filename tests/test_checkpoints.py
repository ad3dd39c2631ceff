import logging

import torch

from vesselrl.checkpoints import Checkpoints


def test_a_state_comes_back_to_the_training_it_belongs_to(tmp_path):
    checkpoints = Checkpoints(tmp_path / "deep")
    assert checkpoints.load("m", "this") is None
    checkpoints.save("m", "this", {"w": torch.arange(3), "step": 2**100, "taus": [0.5]})
    state = Checkpoints(tmp_path / "deep").load("m", "this")
    assert state["w"].tolist() == [0, 1, 2]
    assert (state["step"], state["taus"]) == (2**100, [0.5])


def test_another_trainings_state_is_not_gone_on_with(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "deep")
    checkpoints.save("m", "that", {"step": 1})
    with caplog.at_level(logging.INFO):
        assert checkpoints.load("m", "this") is None
    assert "other data or parameters" in caplog.text


def test_a_damaged_file_means_from_the_beginning(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "deep")
    checkpoints.save("m", "this", {"step": 1})
    (tmp_path / "deep" / "m.pth").write_bytes((tmp_path / "deep" / "m.pth").read_bytes()[:100])
    assert checkpoints.load("m", "this") is None
    assert "damaged" in caplog.text


def test_a_finished_training_leaves_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path / "deep")
    checkpoints.clear()
    checkpoints.save("m", "this", {"step": 1})
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []
