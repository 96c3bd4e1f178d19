import os
import wave
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from datamodules import video_frames
from datamodules.video_frames import VideoFrames
from tests.drawn_videos import FORMATS, number, numbered, write_turned, write_video

COUNT = 60
REORDERED = ("xvid.avi", "h264.avi")  # no times in the file by which to find a frame


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return {
        name: write_video(folder / name, numbered(COUNT), codec, b_frames)
        for name, (codec, b_frames) in FORMATS.items()
    }


def in_sequence(path, count=COUNT):
    video = VideoFrames(str(path), count)
    return [video[index] for index in range(count)]


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_those_written_and_opencvs(videos, name):
    frames = in_sequence(videos[name])
    assert [number(frame) for frame in frames] == list(range(COUNT))
    reference = cv2.VideoCapture(str(videos[name]))
    for frame in frames:
        np.testing.assert_array_equal(frame, reference.read()[1][..., ::-1])
    assert frames[0].dtype == np.uint8
    assert abs(frames[0][5, 5].astype(int) - (60, 90, 120)).max() < 12


@pytest.mark.parametrize("name", FORMATS)
def test_any_frame_is_that_of_the_sequence(videos, name, monkeypatch):
    monkeypatch.setattr(video_frames, "FAR", 3)
    frames, video, decoded = in_sequence(videos[name]), VideoFrames(str(videos[name]), COUNT), []
    step = VideoFrames._step
    monkeypatch.setattr(VideoFrames, "_step", lambda self: (decoded.append(1), step(self)))
    order = np.random.default_rng(0).integers(COUNT, size=40).tolist()
    for index in [*order, COUNT - 1, 0, COUNT - 1, COUNT - 2, COUNT - 2]:
        np.testing.assert_array_equal(video[index], frames[index])
    assert len(decoded) > 300 if name in REORDERED else len(decoded) < 50  # key frames serve


def test_the_same_frame_again_costs_nothing(videos, monkeypatch):
    video = VideoFrames(str(videos["xvid.avi"]), COUNT)
    first = video[30]
    monkeypatch.setattr(VideoFrames, "_step", None)
    np.testing.assert_array_equal(video[30], first)


def test_going_forward_never_goes_back(videos, monkeypatch):
    """Over no key frame the way is through the frames; where times do not serve, it always is."""
    monkeypatch.setattr(video_frames, "FAR", 3)
    video = VideoFrames(str(videos["xvid.avi"]), COUNT)
    video[10]
    monkeypatch.setattr(VideoFrames, "_restart", None)
    assert number(video[50]) == 50
    video = VideoFrames(str(videos["mpeg4.avi"]), COUNT)
    video[1]
    assert number(video[11]) == 11  # the next key frame is 12


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_that_of_opencv(videos, tmp_path, degrees):
    path = write_turned(tmp_path / "turned.mp4", videos["h264.mp4"].read_bytes(), degrees)
    frame = VideoFrames(str(path), COUNT)[0]
    assert frame.shape == ((120, 160, 3) if degrees % 180 == 0 else (160, 120, 3))
    np.testing.assert_array_equal(frame, cv2.VideoCapture(str(path)).read()[1][..., ::-1])


def test_memory_does_not_grow_with_the_video(tmp_path):
    """200 frames of 0.9 MB."""
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    path = write_video(tmp_path / "long.avi", [image] * 200, "mjpeg")
    video = VideoFrames(str(path), 200)
    video[10]
    before = resident()
    for index in range(11, 200):
        video[index]
    assert resident() - before < 40e6


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def overwrite(share, length=200):
    def spoil(path):
        content = bytearray(path.read_bytes())
        start = int(share * len(content))
        content[start : start + length] = np.random.default_rng(0).bytes(length)
        path.write_bytes(content)

    return spoil


def folder(path):
    path.unlink()
    path.mkdir()


def sound(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(800))


def no_frames(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        container.start_encoding()


BREAKS_OFF = ("is damaged", "get the file or its labels")  # within a frame, or between two: fewer than labels
BAD_VIDEOS = {
    "missing": ("mpeg4.avi", Path.unlink, ": video not found; get the file again"),
    "a folder": ("mpeg4.avi", folder, ": video cannot be opened (Is a directory)"),
    "empty": ("mpeg4.avi", lambda path: path.write_bytes(b""), ": is empty (0 bytes); get the file again"),
    "text": ("mpeg4.avi", lambda path: path.write_text("404 not found\n" * 50), ": not a video, or it breaks off"),
    "truncated .mp4": ("h264.mp4", cut(0.7), ": not a video, or it breaks off"),
    "truncated .avi": ("mpeg4.avi", cut(0.7), BREAKS_OFF),
    "truncated .avi with B-frames": ("xvid.avi", cut(0.7), BREAKS_OFF),
    "truncated MJPEG": ("mjpeg.avi", cut(0.7), BREAKS_OFF),
    "overwritten MPEG-4": ("mpeg4.mp4", overwrite(0.5), "is damaged"),
    "overwritten H.264": ("h264.avi", overwrite(0.5), "is damaged"),
    "overwritten MJPEG": ("mjpeg.avi", overwrite(0.5), "is damaged"),
    "sound only": ("mpeg4.avi", sound, ": has no pictures (no video stream); get the file again"),
    "no frames": ("mjpeg.avi", no_frames, f": has no frames, but labels for {COUNT}; get the file or its labels"),
}


@pytest.mark.parametrize(("name", "spoil", "sentence"), BAD_VIDEOS.values(), ids=BAD_VIDEOS)
def test_bad_videos_are_a_sentence(videos, tmp_path, name, spoil, sentence):
    path = tmp_path / name
    path.write_bytes(videos[name].read_bytes())
    spoil(path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        in_sequence(path)
    assert str(error.value).startswith(str(path))
    assert any(part in str(error.value) for part in ([sentence] if isinstance(sentence, str) else sentence))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("labels", [COUNT - 1, COUNT + 1, COUNT + 200])
def test_number_of_frames_is_checked_against_the_labels(videos, name, labels):
    with pytest.raises(ValueError, match=rf"{name}: has {COUNT} frames, but labels for {labels}; get the file or"):
        in_sequence(videos[name], labels)


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_counted_without_decoding_them(videos, name, monkeypatch):
    whole = VideoFrames(str(videos[name]), COUNT)
    with monkeypatch.context() as patch:
        patch.setattr(VideoFrames, "_step", lambda self: pytest.fail("decoded"))
        whole.check_count()
    assert number(whole[0]) == 0
    for labels in (COUNT - 1, COUNT + 1):
        with pytest.raises(ValueError, match=rf"{name}: has {COUNT} frames, but labels for {labels}; get the file or"):
            VideoFrames(str(videos[name]), labels).check_count()


@pytest.mark.parametrize("name", FORMATS)
def test_times_are_those_written(videos, name):
    np.testing.assert_allclose(VideoFrames(str(videos[name]), COUNT).seconds, np.arange(COUNT) / 25, atol=1e-3)


@pytest.mark.parametrize(("name", "b_frames"), [("a.mp4", 2), ("a.mkv", 0)])
def test_times_of_an_uneven_rate_are_those_of_the_frames(tmp_path, name, b_frames):
    ticks = np.random.default_rng(0).choice([1, 2, 9], COUNT).cumsum().tolist()
    path = write_video(tmp_path / name, numbered(COUNT), "libx264", b_frames, ticks=ticks)
    expected = (np.array(ticks) - ticks[0]) / 25
    np.testing.assert_allclose(VideoFrames(str(path), COUNT).seconds, expected, atol=1.5e-3)
    with av.open(str(path)) as container:
        shown = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(np.array(shown) - shown[0], expected, atol=1.5e-3)


def test_a_packet_without_a_frame_is_no_frame(videos, tmp_path):
    """As encoders leave them behind a packet of two frames: the frames are then decoded to be counted."""
    path = tmp_path / "mpeg4.avi"
    with av.open(str(videos["mpeg4.avi"])) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        packets.insert(COUNT // 2, av.Packet(b"\x00\x00\x01\xb6\x50\x4f"))  # a picture that is not coded
        for time, packet in enumerate(packets):
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, time, time, Fraction(1, 25)
            container.mux(packet)
    with av.open(str(path)) as container:
        assert sum(1 for packet in container.demux(video=0) if packet.size) == COUNT + 1
    video = VideoFrames(str(path), COUNT)
    video.check_count()
    assert [number(video[index]) for index in (0, COUNT - 1)] == [0, COUNT - 1]


def test_a_lost_frame_is_noticed(videos, tmp_path):
    """An .avi whose chunk is renamed: its header still claims every frame, and no decoder sees a fault."""
    content = videos["mpeg4.avi"].read_bytes()
    chunk = content.index(b"00dc", len(content) // 2)
    path = tmp_path / "lost.avi"
    path.write_bytes(content[:chunk] + b"JUNK" + content[chunk + 4 :])
    with pytest.raises(ValueError, match=r"lost\.avi: (frame \d+ is damaged|has 59 frames, but labels for 60)"):
        in_sequence(path)


def test_a_damaged_frame_stays_damaged(videos, tmp_path):
    path = tmp_path / "mpeg4.avi"
    path.write_bytes(videos["mpeg4.avi"].read_bytes())
    overwrite(0.5)(path)
    video, sentences = VideoFrames(str(path), COUNT), []
    for _ in range(2):
        with pytest.raises(ValueError, match="is damaged") as error:
            _ = [video[index] for index in range(COUNT)]
        sentences.append(str(error.value))
    assert sentences[0] == sentences[1]


THREADS = Path("/proc/self/task")


@pytest.mark.skipif(not THREADS.is_dir(), reason="threads are counted in /proc, which Linux has")
def test_reading_makes_no_threads(videos):
    """A forked loading process has none of its parent's, and would wait for them when it frees a frame or a file."""
    video = VideoFrames(str(videos["h264.mp4"]), COUNT)
    before = len(list(THREADS.iterdir()))
    for index in range(5):
        video[index]
    assert len(list(THREADS.iterdir())) == before
