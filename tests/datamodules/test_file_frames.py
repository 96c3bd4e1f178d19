"""The user's own files: what is shown is what is read, and what cannot be read is counted."""

import re
import tracemalloc
import wave
from fractions import Fraction

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


def write(path, ticks, codec="libx264", aspect=None, sound=0.0, **options):
    """A video whose frames come at these times, in 25ths of a second; beside it so many seconds of silence."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.gop_size, stream.bit_rate = 12, 4_000_000
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for image, tick in zip(numbered(len(ticks)), ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for start in range(0, int(8000 * sound), 1000):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 8000, start
            container.mux(audio.encode(silence))
        if audio:
            container.mux(audio.encode())
    return path


def cut(path, share):
    """The beginning of a file."""
    content = path.read_bytes()
    shorter = path.with_stem(f"{path.stem}_cut")
    shorter.write_bytes(content[: int(share * len(content))])
    return shorter


def test_frames_at_an_uneven_rate_keep_their_times(tmp_path):
    ticks = [0, 3, 4, 10, 11, 30]
    path = write(tmp_path / "uneven.mp4", ticks)
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


TRUNCATED = {
    "short.avi": ("mpeg4", {}, " of 60"),
    "index_first.mp4": ("libx264", {"movflags": "faststart"}, " of 60"),
    "index_first.mov": ("mpeg4", {"movflags": "faststart"}, " of 60"),
    "short.mkv": ("libx264", {}, ""),
    "short.webm": ("libvpx", {}, ""),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_truncated_video_gives_what_is_there(tmp_path, name):
    codec, options, total = TRUNCATED[name]
    whole = write(tmp_path / name, range(COUNT), codec, **options)
    video = VideoFile(str(whole))
    assert len(list(video)) == COUNT
    assert video.trouble() == ""
    video = VideoFile(str(cut(whole, 0.6)))
    frames = list(video)
    found = [number(frame.image) for frame in frames]
    assert found[:-3] == list(range(len(found) - 3))  # near the end B-frames may be missing
    assert 15 < len(found) < 50
    assert len(found) < video.expected
    end = frames[-1].seconds + 1 / 25
    sentence = f"{video.path}: breaks off after {len(found)}{total} frames, at "
    assert video.trouble().startswith(sentence)
    assert video.trouble().endswith(" of 2.40 s")
    told = float(video.trouble().removeprefix(sentence).split()[0])
    assert told == pytest.approx(end, abs=0.13)  # frames wait for others that were cut off


def test_a_file_in_fragments_breaks_off_too(tmp_path):
    video = VideoFile(str(cut(write(tmp_path / "a.mp4", range(COUNT), movflags="frag_keyframe+empty_moov"), 0.6)))
    count = len(list(video))
    assert video.trouble() == f"{video.path}: breaks off after {count} frames"  # nobody knows how many were to come


def test_damage_before_a_file_breaks_off_is_told_with_it(videos, tmp_path):
    content = bytearray(videos["mjpeg.avi"].read_bytes())
    middle = len(content) // 3
    content[middle : middle + 400] = b"\x55" * 400
    path = tmp_path / "damaged.avi"
    path.write_bytes(content)
    video = VideoFile(str(cut(path, 0.7)))
    count = len(list(video))
    assert video.missing.frames - video.missing.last == 1
    pattern = (
        rf"breaks off after {count} of 60 frames, at 1\.\d\d of 2\.40 s; before that 1 frame is damaged and left out"
    )
    assert re.search(pattern, video.trouble())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "mpeg4.avi"])
@pytest.mark.parametrize("ticks", [[0, 3, 4, 10, 11, 100], [0, 25, 50, 500], [5, 6, 7], range(0, 100, 7), [0]])
def test_a_whole_file_is_not_said_to_break_off(tmp_path, name, ticks):
    video = VideoFile(str(write(tmp_path / name, ticks, "mpeg4" if "avi" in name else "libx264")))
    assert len(list(video)) == len(ticks)
    assert video.trouble() == ""


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_sound_may_go_on_after_the_last_frame(tmp_path, name):
    video = VideoFile(str(write(tmp_path / name, range(20), sound=4.0)))
    assert len(list(video)) == 20
    assert video.trouble() == ""


@pytest.mark.parametrize(
    ("aspect", "shape"), [(Fraction(2), (120, 320)), (Fraction(1, 2), (240, 160)), (Fraction(64, 45), (120, 228))]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pixels_that_are_no_squares_are_stretched(tmp_path, name, aspect, shape):
    path = write(tmp_path / name, range(2), aspect=aspect)
    frames = list(VideoFile(str(path)))
    assert [frame.image.shape[:2] for frame in frames] == [shape] * 2
    y, x = np.nonzero(frames[1].image[: shape[0] // 2, ..., 0] > 150)  # a square of 30, stored at (3, 20)
    scale = shape[1] / 160, shape[0] / 120
    found = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / np.array([*scale, *scale])
    np.testing.assert_allclose(found, [3, 20, 33, 50], atol=1.5)


def test_pixels_are_stretched_before_a_video_is_turned(tmp_path):
    path = write(tmp_path / "a.mp4", range(2), aspect=Fraction(2))
    turned = next(iter(VideoFile(str(write_turned(tmp_path / "turned.mp4", path.read_bytes(), 90)))))
    upright = next(iter(VideoFile(str(path))))
    assert turned.image.shape == (320, 120, 3)
    same = [np.abs(np.rot90(upright.image, k).astype(int) - turned.image).mean() < 2 for k in (1, 3)]
    assert any(same)


def test_an_absurd_shape_of_pixels_is_not_believed(tmp_path):
    (frame,) = VideoFile(str(write(tmp_path / "a.mkv", [0], aspect=Fraction(500))))
    assert frame.image.shape == (120, 160, 3)


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path):
    peaks = []
    for count in (50, 400):
        video = VideoFile(str(write(tmp_path / f"{count}.mp4", range(count))))
        tracemalloc.start()
        assert sum(1 for _ in video) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3 * 160 * 120 * 3  # bytes of three frames


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


def test_a_camera_that_is_not_there_is_one_sentence(capfd):
    with pytest.raises(ValueError, match=r"camera 77 gives no picture; set --data.path to another, or to a file"):
        list(Camera(77, lambda: 0.0))
    assert capfd.readouterr() == ("", "")
