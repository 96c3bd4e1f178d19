"""Videos of drawn faces, and 300VW and WFLW-V made of them."""

import struct

import av
import numpy as np

from datamodules.markup import IBUG_68, WFLW_98
from tests.drawn_faces import draw, ibug_face, wflw_face
from tests.drawn_pts import write_pts

WIDTH, HEIGHT, BITS = 160, 120, 10
FORMATS = {  # file name: codec, B-frames
    "h264.mp4": ("libx264", 2),
    "mpeg4.mp4": ("mpeg4", 0),
    "h264.mkv": ("libx264", 2),
    "mjpeg.avi": ("mjpeg", 0),
    "mpeg4.avi": ("mpeg4", 0),
    "xvid.avi": ("mpeg4", 2),
    "h264.avi": ("libx264", 2),
}
VIDEOS_300VW = {"001": 12, "002": 7, "009": 9, "114": 8, "203": 5, "410": 6, "411": 3}  # frames
VIDEOS_WFLW_V = {"-a_B3": "easy", "Zz0": "hard", "k9-Q": "hard"}


def write_video(path, images, codec="mpeg4", b_frames=0, key_every=12, ticks=None, aspect=None):
    """A video of RGB images (H, W, 3), a 25th of a second each, or at these times in 25ths; ``aspect`` is of pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size, stream.max_b_frames, stream.bit_rate = key_every, b_frames, 4_000_000
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = ticks[number] if ticks else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_turned(path, content, degrees):
    """A .mp4 (its bytes) that asks players to turn it."""
    matrix = content.index(b"tkhd") + 44  # of the track header's first version
    cos, sin = round(np.cos(np.deg2rad(degrees))), round(np.sin(np.deg2rad(degrees)))
    one = 1 << 16
    turned = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:matrix] + turned + content[matrix + 36 :])
    return path


def marked(image, number):
    """The image with a number in light and dark squares along its lower edge."""
    image = image.copy()
    for bit in range(BITS):
        image[-16:, 16 * bit : 16 * bit + 16] = 255 if number >> bit & 1 else 0
    return image


def number(image):
    """The number marked in an image (H, W, 3), whatever the codec left of it."""
    return sum(int(image[-11:-5, 16 * bit + 5 : 16 * bit + 11].mean() > 127) << bit for bit in range(BITS))


def numbered(count):
    """Images with a moving square, marked 0, 1, 2, ...."""
    images = []
    for i in range(count):
        image = np.full((HEIGHT, WIDTH, 3), (60, 90, 120), np.uint8)
        image[20:50, 3 * i % 120 : 3 * i % 120 + 30] = (220, 180, 150)
        images.append(marked(image, i))
    return images


def moving_face(face, count, phase=0.0):
    """The points (count, N, 2) of a face on a curved way, as many pixels a frame as a head may move."""
    t = np.arange(count)[:, None] + phase
    centre = np.concatenate([70 + 2 * t, 48 + 5 * np.sin(t / 3)], axis=1)
    return np.round(face * 20 + centre[:, None], 3)


def write_face_video(path, points, markup, **options):
    """A video of a face with these points (count, N, 2), each frame marked with its number."""
    write_video(path, [marked(draw([face], WIDTH, HEIGHT, markup), i) for i, face in enumerate(points)], **options)


def write_w300vw(root, lengths=VIDEOS_300VW):
    """300VW in ``root`` with these numbers of frames, each marked with its number; the points by video."""
    points = {}
    for video, count in lengths.items():
        points[video] = moving_face(ibug_face(), count, phase=int(video) % 5)
        write_face_video(root / video / "vid.avi", points[video], IBUG_68)
        for i, face in enumerate(points[video]):
            write_pts(root / video / "annot" / f"{i + 1:06}.pts", face)
    return points


def write_wflw_v(root, videos=VIDEOS_WFLW_V, count=6):
    """WFLW-V in ``root``, boxes with a score in a fifth column; the points by video."""
    points = {}
    for folder in ("landmarks", "bboxes"):
        (root / folder).mkdir(parents=True)
    for i, video in enumerate(videos):
        points[video] = moving_face(wflw_face(), count + i)
        write_face_video(root / "videos" / f"{video}.mp4", points[video], WFLW_98, codec="libx264", b_frames=2)
        box = np.concatenate([points[video].min(axis=1) - 2, points[video].max(axis=1) + 3], axis=1)
        np.save(root / "landmarks" / f"{video}.npy", points[video])
        np.save(root / "bboxes" / f"{video}.npy", np.pad(box, ((0, 0), (0, 1)), constant_values=0.9))
    for subset in ("easy", "hard"):
        names = [video for video, of in videos.items() if of == subset]
        (root / f"{subset}_video_IDs.txt").write_text("\n".join(names) + "\n")
    return points
