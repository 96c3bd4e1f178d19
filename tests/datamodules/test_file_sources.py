"""Which files a path names, and which of them were written by this project."""

import json

import pytest

from datamodules.file_sources import list_sources
from tests.one_sentence import one_sentence

WRITTEN = {"path": "/mine", "weights": "none", "every": 10}


def make(folder, *names, content=""):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def listed(folder):
    sources, left_out = list_sources(str(folder))
    return [source.name for source in sources], left_out


def test_images_and_videos_are_told_apart(tmp_path):
    make(tmp_path, "a.mp4", "b/C.JPG", "notes.txt")
    sources, left_out = list_sources(str(tmp_path))
    assert [(source.name, source.still) for source in sources] == [("a.mp4", False), ("b/C.JPG", True)]
    assert left_out == ["notes.txt"]


def test_what_predict_wrote_is_left_out(tmp_path):
    make(tmp_path, "a.mp4", "found/a.mp4_overlay.mp4", "found/b.mp4_overlay.partial.mp4", "found/a.mp4.csv")
    make(tmp_path, "found/sub/c.jpg_overlay.jpg", "found2/c.jpg_overlay.jpg")
    make(tmp_path, "found/about.json", content=json.dumps(WRITTEN))
    assert listed(tmp_path) == (["a.mp4", "found2/c.jpg_overlay.jpg"], [])


@pytest.mark.parametrize("out", ["", "sub/"])
def test_files_of_the_users_own_stay_where_predict_wrote_beside_them(tmp_path, out):
    make(tmp_path, f"{out}a.mp4", f"{out}a_overlay.mp4", f"{out}a.mp4_overlay.mp4", f"{out}images.csv")
    make(tmp_path, f"{out}about.json", content=json.dumps(WRITTEN))
    assert listed(tmp_path) == ([f"{out}a.mp4", f"{out}a_overlay.mp4"], [])


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"title": "of mine"}'])
def test_another_about_json_means_nothing(tmp_path, content):
    make(tmp_path, "a.mp4_overlay.mp4")
    make(tmp_path, "about.json", content=content)
    assert listed(tmp_path) == (["a.mp4_overlay.mp4"], ["about.json"])


@pytest.mark.parametrize("beside", ["metrics.csv", "checkpoints/last.ckpt"])
def test_runs_are_left_out(tmp_path, beside):
    make(tmp_path, "a.png", "runs/one/config.yaml", f"runs/one/{beside}", "runs/one/test/worst.png")
    make(tmp_path, "runs/oneself/b.png")
    make(tmp_path, "c/config.yaml", "c/d.png")  # no run
    assert listed(tmp_path) == (["a.png", "c/d.png", "runs/oneself/b.png"], ["c/config.yaml"])


def test_a_run_that_is_asked_for_is_listed(tmp_path):
    make(tmp_path, "config.yaml", "metrics.csv", "test/worst.png")
    assert listed(tmp_path)[0] == ["test/worst.png"]


def test_a_folder_without_anything_is_one_sentence(tmp_path):
    with one_sentence(f"{tmp_path} has no file; set --data.path to an image"):
        list_sources(str(tmp_path))
    make(tmp_path, "a.txt", "b.txt")
    with one_sentence(f"{tmp_path} holds no image and no video (2 other files); set --data.path to an image"):
        list_sources(str(tmp_path))
