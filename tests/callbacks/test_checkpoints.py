"""Checkpoint files: whole or not there; the best is the best whatever happened in between."""

import errno
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.checkpoints import BEST, LAST, MONITOR, PREVIOUS, BestAndLast, CheckpointFiles
from tests.experiment import run, weights, write_experiment


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path):
    files, path = CheckpointFiles(), tmp_path / "last.ckpt"
    files.save_checkpoint({"state_dict": {"a": torch.ones(2)}}, path)
    with pytest.raises(RuntimeError, match="boom"):
        files.save_checkpoint({"state_dict": Unsavable()}, path)
    assert torch.equal(files.load_checkpoint(path)["state_dict"]["a"], torch.ones(2))


class Unsavable:
    def __reduce__(self):
        raise RuntimeError("boom")


def validations(callback, scores):
    """The files saved after validations with these scores."""
    saved = []
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        sanity_checking=False,
        fast_dev_run=False,
        current_epoch=0,
        save_checkpoint=lambda path: saved.append((score, path.name)),
    )
    for score in scores:
        trainer.callback_metrics = {MONITOR: torch.tensor(score)}
        callback.on_validation_end(trainer, SimpleNamespace(print=lambda text: None))
    return saved


def test_only_the_lowest_error_is_kept_also_after_resuming(tmp_path):
    first = BestAndLast(tmp_path / "a")
    assert validations(first, [5.0, 6.0, 4.0, float("nan")]) == [(5.0, "best.ckpt"), (4.0, "best.ckpt")]
    resumed = BestAndLast(tmp_path / "moved")
    resumed.load_state_dict(first.state_dict())
    assert validations(resumed, [4.5, 3.5]) == [(3.5, "best.ckpt")]


def test_a_missing_monitor_is_one_sentence(tmp_path):
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        sanity_checking=False,
        fast_dev_run=False,
        callback_metrics={"val/loss": 1.0},
    )
    with pytest.raises(ValueError, match=r"logged no val/nme.*it logged: val/loss"):
        BestAndLast(tmp_path).on_validation_end(trainer, None)


def test_the_checkpoint_before_the_last_stays(tmp_path):
    files, folder = CheckpointFiles(), tmp_path / "checkpoints"
    for epoch in range(3):
        files.save_checkpoint({"state_dict": {"epoch": torch.tensor(epoch)}}, folder / LAST)
        files.save_checkpoint({"state_dict": {"epoch": torch.tensor(epoch)}}, folder / BEST)
    found = {path.name: int(files.load_checkpoint(path)["state_dict"]["epoch"]) for path in folder.iterdir()}
    assert found == {BEST: 2, LAST: 2, PREVIOUS: 1}


def test_it_stays_where_a_file_cannot_have_two_names(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", lambda self, target: (_ for _ in ()).throw(OSError("no links here")))
    files = CheckpointFiles()
    for epoch in range(2):
        files.save_checkpoint({"state_dict": {"epoch": torch.tensor(epoch)}}, tmp_path / LAST)
    assert int(files.load_checkpoint(tmp_path / PREVIOUS)["state_dict"]["epoch"]) == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_last_one_is_named_and_the_one_before_offered(tmp_path, monkeypatch, capsys, damage):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path, max_epochs=3)
    run("fit", "--config", "tiny.yaml", "--name", "whole")
    run("fit", "--config", "tiny.yaml", "--trainer.max_epochs=2")
    last = Path("runs/tiny/checkpoints/last.ckpt")
    content = bytearray(last.read_bytes())
    if damage == "flipped":
        with zipfile.ZipFile(last) as archive:  # a byte of a weight: only its checksum tells
            place = max(archive.infolist(), key=lambda info: info.file_size)
        content[place.header_offset + place.file_size // 2 + 100] ^= 255
    last.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "emptied": b""}[damage])
    with pytest.raises(SystemExit):
        run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=3")
    said = capsys.readouterr().err
    reason = "not a readable checkpoint, it is cut off or no checkpoint at all"
    if damage == "flipped":
        reason = f"damaged, the checksum of {place.filename} is another"
    assert f"last.ckpt: {reason}; delete it, and --resume goes on from previous.ckpt beside it, which is whole" in said
    last.unlink()
    run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=3")
    one, other = weights("runs/whole"), weights("runs/tiny")
    assert all(torch.equal(one[key], other[key]) for key in one)
    last.write_bytes(b"")
    last.with_name(PREVIOUS).write_bytes(b"")
    with pytest.raises(SystemExit):
        run("fit", "--name", "tiny", "--resume", "--trainer.max_epochs=4")
    assert "nor is runs/tiny/checkpoints/previous.ckpt beside it; begin the run again" in capsys.readouterr().err


def test_a_full_disk_is_told_and_leaves_no_part(tmp_path, monkeypatch):
    files, path = CheckpointFiles(), tmp_path / LAST
    files.save_checkpoint({"state_dict": {}}, path)
    monkeypatch.setattr(
        torch, "save", lambda *args: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(OSError, match=r"last.ckpt: No space left on device; the one before is kept. Make room"):
        files.save_checkpoint({"state_dict": {}}, path)
    assert [file.name for file in tmp_path.iterdir()] == [LAST]
