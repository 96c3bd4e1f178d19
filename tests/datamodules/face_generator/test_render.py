from dataclasses import fields, replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from datamodules.face_generator.camera import Shot
from datamodules.face_generator.landmarks import landmarks
from datamodules.face_generator.mesh import Material, head
from datamodules.face_generator.occluders import outlines
from datamodules.face_generator.parameters import OCCLUDERS
from datamodules.face_generator.raster import rasterise, smooth_normals
from datamodules.face_generator.render import render
from datamodules.face_generator.sampling import sample_parameters
from tests.datamodules.face_generator.people import doing, plain, turned

SIZE = 256


def pixels(faces, size=SIZE):
    return landmarks(faces)[0] * size - 0.5


def brightness(face, size=SIZE):
    return render(face, size).astype(float).mean(axis=-1)


def covered(face, size=SIZE):
    """The triangle each pixel of the head shows, and the head's mesh."""
    mesh, shot = head(), Shot(face, size)
    vertices = mesh.deformed(face.identity, face.expression)
    places, depth = shot.place(vertices, mesh.torso)
    shown = rasterise(places, depth, mesh.triangles, size, mesh.layer)
    canvas = np.full(size * size, -1)
    canvas[shown.at] = shown.triangle
    return canvas.reshape(size, size), mesh, places


def test_a_picture_is_a_function_of_its_parameters():
    face = sample_parameters((5, 1), np.array([7]), "photo")[0]
    first, again = render(face, 100), render(face, 100)
    assert first.shape == (100, 100, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", ["scene", "exposure", "skin", "hair", "light", "expression", "angles"])
def test_every_kind_of_parameter_shows(name):
    faces = sample_parameters((5, 1), np.array([3, 10]), "photo")
    changed = replace(faces[0], **{name: getattr(faces[1], name)})
    assert (render(faces[0], 100) != render(changed, 100)).mean() > 0.01


def test_landmarks_are_vertices_of_what_is_drawn():
    faces = sample_parameters((1, 0), np.arange(40), "photo")
    for row, points in enumerate(pixels(faces)):
        mesh = head()
        vertices = mesh.deformed(faces[row].identity, faces[row].expression)
        places, _ = Shot(faces[row], SIZE).place(vertices, mesh.torso)
        np.testing.assert_allclose(places[33:96], points[33:96], atol=1e-6)
    for contour in (*mesh.lids.reshape(4, 9), np.arange(98)):
        assert (mesh.torso[contour] == 0).all()


def test_the_pupils_are_where_the_irises_are_drawn():
    gaze = np.array([[0.0, 0.0], [0.35, 0.0], [-0.35, 0.1]])
    faces = plain(3, gaze=gaze, expression=doing(3, blink_left=-0.4, blink_right=-0.4), angles=turned([0, 25, -30]))
    for row, points in enumerate(pixels(faces, 512)):
        dark = 255 - brightness(faces[row], 512)
        for pupil, lid in ((96, range(60, 68)), (97, range(68, 76))):
            inside = np.zeros((512, 512), np.uint8)
            cv2.fillPoly(inside, [np.round(points[list(lid)]).astype(np.int32)], 1)
            inside = cv2.erode(inside, np.ones((3, 3), np.uint8)) > 0
            black = inside & (dark > np.percentile(dark[inside], 75))
            y, x = np.nonzero(black)
            assert np.hypot(x.mean() - points[pupil, 0], y.mean() - points[pupil, 1]) < 3  # of 512; an eye is 50 wide


def test_lips_are_red_between_their_landmarks():
    face = plain(lips=np.array([[0.75, 0.15, 0.2]]))
    points, image = pixels(face)[0], render(face[0], SIZE).astype(float)
    red = image[..., 0] - image[..., 1]
    x = round(points[85, 0])

    def crossing(start, stop):
        """Where redness passes the middle between its ends along a column."""
        rows = np.linspace(start, stop, 61)
        values = np.interp(rows, np.arange(SIZE), red[:, x])
        return rows[np.argmin(np.abs(values - (values[0] + values[-1]) / 2))]

    assert crossing(points[79, 1] - 4, points[79, 1] + 4) == pytest.approx(points[79, 1], abs=1.5)  # a notch
    assert crossing(points[85, 1] + 4, points[85, 1] - 4) == pytest.approx(points[85, 1], abs=1.0)


def test_brows_are_dark_within_their_landmarks():
    points, image = pixels(plain())[0], brightness(plain()[0])
    for brow in (range(33, 42), range(42, 51)):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, [np.round(points[list(brow)]).astype(np.int32)], 1)
        ring = (cv2.dilate(mask, np.ones((9, 9))) > 0) & ~(cv2.dilate(mask, np.ones((5, 5))) > 0)
        assert image[mask > 0].mean() < 0.7 * image[ring].mean()


@pytest.mark.parametrize("yaw", [-50, 0, 50])
def test_the_jaw_lies_on_the_outline_of_the_head(yaw):
    face = plain(angles=turned(yaw))
    canvas, mesh, _ = covered(face[0])
    neck = np.isnan(mesh.angle[mesh.triangles]).any(axis=1)  # neck, ears, eyes, mouth
    neck &= mesh.material == Material.SKIN
    head_mask = ((canvas >= 0) & ~neck[canvas]).astype(np.uint8)
    inside, outside = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (head_mask, 1 - head_mask))
    points = np.round(pixels(face)[0]).astype(int)
    far = range(17, 27) if yaw > 0 else range(6, 16)  # above these the outline runs behind the nose
    for landmark in [*far, 16]:
        x, y = points[landmark]
        assert inside[y, x] < 4.0  # pixels; the face is 125 wide
        assert outside[y, x] < 2.5


def test_flags_agree_with_what_is_drawn():
    """A point of the surface is hidden where another part of the head is drawn over it."""
    agree = []
    for yaw in (-65, -45, -25, 0, 25, 45, 65):
        face = plain(angles=turned(yaw))
        seen = landmarks(face)[1][0]
        canvas, mesh, places = covered(face[0], 512)
        for landmark in range(33, 93):  # without the lower lip's edge, which closed lips leave to chance
            x, y = np.round(places[landmark]).astype(int)
            around = np.unique(canvas[y - 2 : y + 3, x - 2 : x + 3])
            shown = np.isin(mesh.triangles[around[around >= 0]], landmark).any()
            agree.append(bool(shown) == bool(seen[landmark]))
    assert np.mean(agree) > 0.97


def test_a_video_frame_differs_little_from_the_next():
    sweep = plain(3, angles=turned(np.array([10.0, 10.5, 40.0])))
    first, near, far = (render(sweep[i], 128).astype(float) for i in range(3))
    assert np.abs(first - near).mean() < 0.25 * np.abs(first - far).mean()


def test_motion_blur_is_the_mean_of_the_picture_along_the_path():
    """A path of ten pixels to the right and five down: the mean of sharp pictures on the way."""
    path = np.array([10.0, 5.0])
    sharp = render(plain()[0], 160)
    moved = render(plain(motion=path[None] / 160)[0], 160)
    shifted = []
    for share in np.linspace(-0.5, 0.5, 41):
        to = np.array([[1, 0, share * path[0]], [0, 1, share * path[1]]])
        shifted.append(cv2.warpAffine(sharp, to, (160, 160), borderMode=cv2.BORDER_REFLECT_101).astype(float))
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(moved.astype(float) - np.mean(shifted, axis=0))[inside].mean() < 0.6
    assert np.abs(moved.astype(float) - sharp)[inside].mean() > 4


@pytest.mark.parametrize("name", ["blur", "motion"])
def test_sharpness_goes_without_steps(name):
    """In small steps, the picture changes in small steps."""
    amount = np.linspace(0, 0.02, 101)
    faces = plain(101, **{name: amount if name == "blur" else amount[:, None] * [0.8, 0.6]})
    pictures = [render(faces[i], 128).astype(float) for i in range(101)]
    whole = np.abs(pictures[-1] - pictures[0]).mean()
    assert whole > 1
    assert max(np.abs(b - a).mean() for a, b in pairwise(pictures)) < 0.1 * whole


@pytest.mark.parametrize("place", [(0.5 + 8 / 128, 0.5), (0.5, 0.5 - 8 / 128)])
@pytest.mark.parametrize("scene", [2, 5])
def test_clothes_move_with_their_wearer(place, scene):
    faces = plain(2, scene=np.array([scene, scene]), clothes=np.full((2, 3), 0.6), key=np.full((2, 3), 0.8))
    faces.camera[1, 2:] = place
    first, second = (render(faces[i], 128).astype(float) for i in range(2))
    dx, dy = np.round((np.array(place) - 0.5) * 128).astype(int)
    chest = first[118:126, 40:88]
    assert chest.std(axis=(0, 1)).mean() > 2  # there are folds
    there = second[118 + dy : 126 + dy, 40 + dx : 88 + dx]
    assert np.abs(chest - there).mean() < 1


@pytest.mark.parametrize("name", ["glasses", "sunglasses", "mask", "scarf"])
def test_what_is_worn_turns_away_without_a_jump(name):
    """The area of all outlines changes little in its change where a head turns by a tenth of a degree at a time."""
    yaw = np.arange(-70, 70.05, 0.1)
    worn = {"glasses": np.full(len(yaw), True)}
    if name != "glasses":
        worn = {"occluder": np.full(len(yaw), OCCLUDERS.index(name))}
    faces = plain(len(yaw), angles=turned(yaw), place=np.full((len(yaw), 6), 0.5), **worn)
    areas = []
    for i in range(len(yaw)):
        corners = [outline.corners for outline in outlines(Shot(faces[i], 100))]
        areas.append(sum(cv2.contourArea(c.astype(np.float32)) for c in corners))
    assert np.ptp(areas) > 20  # pixels
    assert np.abs(np.diff(areas)).max() < 8
    assert np.abs(np.diff(areas, 2)).max() < 1


def test_infrared_is_grey_and_shows_the_same_people():
    photo, infrared = (sample_parameters((0, 0), np.arange(30), domain) for domain in ("photo", "infrared"))
    np.testing.assert_array_equal(photo.identity, infrared.identity)
    image = render(infrared[4], 128).astype(int)
    assert np.abs(image[..., 0] - image[..., 2]).mean() < 12  # grey, but for the grain
    assert infrared.camera[:, 0].max() < photo.camera[:, 0].min()
    for field in fields(photo):
        assert getattr(photo, field.name).shape == getattr(infrared, field.name).shape


def test_normals_of_a_sphere_point_outwards():
    angle, height = np.meshgrid(np.linspace(0, 2 * np.pi, 25)[:-1], np.linspace(-0.9, 0.9, 12))
    ring = np.sqrt(1 - height**2)
    points = np.stack([ring * np.sin(angle), height, -ring * np.cos(angle)], axis=-1).reshape(-1, 3)
    index = np.arange(12 * 24).reshape(12, 24)
    a, b = index[:-1], np.roll(index, -1, axis=1)[:-1]
    c, d = np.roll(index, -1, axis=1)[1:], index[1:]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    normals = smooth_normals(points, triangles)
    assert ((normals * points).sum(axis=1) > 0.97).all()


def test_rasterised_values_are_those_of_the_plane_through_the_corners():
    places = np.array([[10.0, 10], [50, 14], [22, 48], [60, 60]])
    depth, triangles = np.array([5.0, 5, 5, 1]), np.array([[0, 1, 2], [1, 3, 2]])
    pixels_ = rasterise(places, depth, triangles, 64)
    values = (3 * places[:, 0] - places[:, 1])[triangles].T[None]
    y, x = np.divmod(pixels_.at, 64)
    inner = np.minimum.reduce([pixels_.second, pixels_.third, 1 - pixels_.second - pixels_.third]) > 0.02
    np.testing.assert_allclose(pixels_.of(values)[0][inner], (3 * x - y)[inner], atol=1e-3)
    assert inner.sum() == pytest.approx(1500, rel=0.15)  # the area of both triangles is 1,560 pixels
