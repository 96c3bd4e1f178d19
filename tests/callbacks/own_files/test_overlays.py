"""What is drawn, and videos of it."""

import av
import numpy as np
import pytest

from callbacks.own_files.overlays import COLOURS, OverlayVideo, draw_faces
from lightning_modules.video.following import Face


def test_faces_are_drawn_where_they_are_and_the_image_is_left_alone():
    image = np.zeros((120, 160, 3), np.uint8)
    points = np.array([[40.0, 50.0], [60.0, 50.0], [900.0, 900.0]])
    faces = [Face(i, np.array([30.0, 40, 70, 80]), points + 40 * i, np.ones(3)) for i in range(2)]
    drawn = draw_faces(image, faces, [(0, 1)])
    assert not image.any()
    for face in faces:
        x, y = face.landmarks[0].astype(int)
        assert tuple(drawn[y, x].tolist()) == COLOURS[face.identity]
        assert drawn[y, x + 10].any()  # the edge
    assert not drawn[100:, :30].any()


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47)])
def test_frames_keep_their_times(tmp_path, width, height):
    video, seconds = OverlayVideo(tmp_path / "a.mp4"), [0.0, 0.12, 0.16, 0.9]
    for number, second in enumerate(seconds):
        video.write(np.full((height, width, 3), 60 * number, np.uint8), second)
    video.write(np.full((100, 90, 3), 10, np.uint8), 0.9)  # another size, and not later than the one before
    assert not (tmp_path / "a.mp4").exists()
    video.close(finished=True)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames[:4]] == pytest.approx(seconds, abs=1e-3)
    assert len(frames) == 5
    assert (frames[0].width, frames[0].height) == (width - width % 2, height - height % 2)
    assert [int(frame.to_ndarray(format="rgb24").mean()) for frame in frames[:4]] == pytest.approx(
        [0, 60, 120, 180], abs=4
    )


def test_what_breaks_off_can_be_played(tmp_path):
    video = OverlayVideo(tmp_path / "a.mp4")
    for number in range(60):
        video.write(np.full((48, 64, 3), 4 * number, np.uint8), number / 25)
    video.close(finished=False)
    with av.open(str(tmp_path / "a.partial.mp4")) as container:
        assert len(list(container.decode(video=0))) == 60
    OverlayVideo(tmp_path / "none.mp4").close(finished=True)
    assert not (tmp_path / "none.mp4").exists()
