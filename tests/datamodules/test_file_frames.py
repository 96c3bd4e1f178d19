"""The user's own files: what is shown is what is read, and what cannot be read is counted."""

import wave

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules.file_frames import Camera, VideoFile, image_frame
from tests.drawn_videos import number, numbered, write_turned, write_video

COUNT = 60


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    formats = {"h264.mp4": ("libx264", 2), "mpeg4.avi": ("mpeg4", 0), "mjpeg.avi": ("mjpeg", 0)}
    return {name: write_video(folder / name, numbered(COUNT), *how) for name, how in formats.items()}


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.avi", "mjpeg.avi"])
def test_every_frame_comes_once_at_its_time(videos, name):
    video = VideoFile(str(videos[name]))
    frames = list(video)
    assert [number(frame.image) for frame in frames] == list(range(COUNT))
    assert [frame.number for frame in frames] == list(range(COUNT))
    assert [frame.seconds for frame in frames] == pytest.approx([i / 25 for i in range(COUNT)], abs=1e-3)
    assert video.expected == COUNT
    assert video.missing.frames == 0


def test_frames_at_an_uneven_rate_keep_their_times(tmp_path):
    path, ticks = tmp_path / "uneven.mp4", [0, 3, 4, 10, 11, 30]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for image, tick in zip(numbered(len(ticks)), ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = list(VideoFile(str(path)))
    assert [frame.seconds for frame in frames] == pytest.approx([tick / 25 for tick in ticks], abs=1e-3)
    assert [number(frame.image) for frame in frames] == list(range(6))


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_telephones_video_is_upright(videos, tmp_path, degrees):
    path = write_turned(tmp_path / "turned.mp4", videos["h264.mp4"].read_bytes(), degrees)
    frame = next(iter(VideoFile(str(path))))
    assert frame.image.shape == ((120, 160, 3) if degrees == 180 else (160, 120, 3))
    np.testing.assert_array_equal(frame.image, cv2.VideoCapture(str(path)).read()[1][..., ::-1])


def test_a_photograph_is_upright(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:5, :5] = 255  # the corner that is to be at the top right
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    found = image_frame(str(tmp_path / "photo.png")).image
    assert found.shape == (30, 20, 3)
    assert found[2, -3].tolist() == [255] * 3


@pytest.mark.parametrize(
    "image", [Image.new("L", (8, 6), 77), Image.new("RGBA", (8, 6), (77, 77, 77, 9)), Image.new("P", (8, 6))]
)
def test_grey_and_transparent_photographs_have_three_channels(tmp_path, image):
    image.save(tmp_path / "image.png")
    found = image_frame(str(tmp_path / "image.png")).image
    assert found.shape == (6, 8, 3)
    assert found.dtype == np.uint8


def test_a_grey_video_has_three_channels(tmp_path):
    path = tmp_path / "grey.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "gray"
        for value in (10, 200):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((16, 32), value, np.uint8), "gray")))
        container.mux(stream.encode())
    frames = list(VideoFile(str(path)))
    assert [int(frame.image.mean()) for frame in frames] == [10, 200]
    assert frames[0].image.shape == (16, 32, 3)


def test_the_frames_before_and_after_damage_are_read(videos, tmp_path):
    content = bytearray(videos["mjpeg.avi"].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = b"\x55" * 400
    path = tmp_path / "damaged.avi"
    path.write_bytes(content)
    video = VideoFile(str(path))
    found = [number(frame.image) for frame in video]
    assert video.missing.frames >= 1
    assert len(found) + video.missing.frames == COUNT
    assert found[0] == 0
    assert found[-1] == COUNT - 1
    assert video.missing.first.startswith("1.")  # seconds


def test_a_truncated_video_gives_what_is_there(videos, tmp_path):
    content = videos["mpeg4.avi"].read_bytes()
    path = tmp_path / "short.avi"
    path.write_bytes(content[: int(0.6 * len(content))])
    video = VideoFile(str(path))
    found = [number(frame.image) for frame in video]
    assert found == list(range(len(found)))
    assert 20 < len(found) < 50
    assert len(found) < video.expected


def test_what_is_no_video_is_a_sentence(videos, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text.mp4: not a video, or it breaks off"):
        list(VideoFile(str(tmp_path / "text.mp4")))
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: video not found"):
        list(VideoFile(str(tmp_path / "none.mp4")))
    content = videos["mpeg4.avi"].read_bytes()
    (tmp_path / "header.avi").write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(ValueError, match=r"header.avi: no frame of it can be read|header.avi: not a video"):
        list(VideoFile(str(tmp_path / "header.avi")))
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(800))
    with pytest.raises(ValueError, match=r"sound.wav: has no pictures"):
        list(VideoFile(str(tmp_path / "sound.wav")))


class Lens:
    """Three pictures, then none."""

    def __init__(self, number):
        self.left = 0 if number else 3
        self.released = False

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((4, 6, 3), (1, 2, 3), np.uint8)

    def release(self):
        self.released = True


def test_a_camera_gives_frames_until_it_ends(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Lens)
    times = iter([5.0, 5.0, 5.1, 5.25])
    frames = list(Camera(0, lambda: next(times)))
    assert [frame.seconds for frame in frames] == pytest.approx([0.0, 0.1, 0.25])
    assert frames[0].image[0, 0].tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="camera 1 gives no picture"):
        list(Camera(1, lambda: 0.0))
