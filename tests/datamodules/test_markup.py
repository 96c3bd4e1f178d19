import numpy as np
import pytest
import yaml

from datamodules.markup import AFLW_19, CAT_9, CELEBA_5, COFW_29, IBUG_68, MARKUPS, WFLW_98
from datamodules.markup_file import load_markup
from tests.drawn_faces import cat_face, ibug_face, wflw_face

# What is published: WFLW's Mirror98.txt, and pairs counted from 1 (COFW) and from 0 (AFLW).
MIRROR_98 = (
    "32 31 30 29 28 27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 46 45 44 43 42 50 "
    "49 48 47 37 36 35 34 33 41 40 39 38 51 52 53 54 59 58 57 56 55 72 71 70 69 68 75 74 73 64 63 62 61 60 67 66 "
    "65 82 81 80 79 78 77 76 87 86 85 84 83 92 91 90 89 88 95 94 93 97 96"
)
MIRROR_68 = (
    "16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 26 25 24 23 22 21 20 19 18 17 27 28 29 30 35 34 33 32 31 45 44 43 "
    "42 47 46 39 38 37 36 41 40 54 53 52 51 50 49 48 59 58 57 56 55 64 63 62 61 60 67 66 65"
)
PAIRS_COFW = [(1, 2), (3, 4), (5, 7), (6, 8), (9, 10), (11, 12), (13, 15), (14, 16), (17, 18), (19, 20), (23, 24)]
PAIRS_AFLW = [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)]


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=MARKUPS)
def test_flip_twice_is_identity(markup):
    once = np.array(markup.flip)
    assert once[once].tolist() == list(range(markup.num_landmarks))


@pytest.mark.parametrize(("markup", "published"), [(WFLW_98, MIRROR_98), (IBUG_68, MIRROR_68)])
def test_flip_is_the_published_permutation(markup, published):
    assert list(markup.flip) == [int(i) for i in published.split()]


@pytest.mark.parametrize(("markup", "pairs", "first"), [(COFW_29, PAIRS_COFW, 1), (AFLW_19, PAIRS_AFLW, 0)])
def test_flip_swaps_the_published_pairs_and_nothing_else(markup, pairs, first):
    moved = {(i + first, j + first) for i, j in enumerate(markup.flip) if i < j}
    assert moved == set(pairs)


@pytest.mark.parametrize(
    ("markup", "face"), [(WFLW_98, wflw_face()), (IBUG_68, ibug_face()), (CAT_9, cat_face())], ids=lambda v: str(v)[:12]
)
def test_mirroring_a_symmetric_face_gives_it_back(markup, face):
    mirrored = face[list(markup.flip)] * (-1, 1)
    np.testing.assert_allclose(mirrored, face, atol=1e-12)


def test_flip_swaps_the_outer_eye_corners():
    assert WFLW_98.flip[60] == 72
    assert IBUG_68.flip[36] == 45
    assert COFW_29.flip[8] == 9
    assert CELEBA_5.flip == (1, 0, 2, 4, 3)


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=MARKUPS)
def test_flip_keeps_parts_edges_and_normalisers(markup):
    flip = markup.flip
    for part in markup.parts.values():
        assert {flip[i] for i in part} == set(part)
    edges = {frozenset(edge) for edge in markup.edges}
    assert {frozenset((flip[i], flip[j])) for i, j in edges} == edges
    for first, second in markup.normalizers.values():
        assert {flip[i] for i in first} == set(second)


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=MARKUPS)
def test_every_landmark_is_in_one_part(markup):
    assert sorted(i for part in markup.parts.values() for i in part) == list(range(markup.num_landmarks))


def test_normalisers_by_hand():
    face = np.zeros((98, 2))
    face[60], face[72] = (10, 20), (40, 60)  # a 3-4-5 triangle times 10
    face[96], face[97] = (5, 0), (5, 12)
    assert WFLW_98.default_normalizer == "inter-ocular"
    assert WFLW_98.norm(face, "inter-ocular", 256) == pytest.approx(50)
    assert WFLW_98.norm(face, "inter-pupil", 256) == pytest.approx(12)
    assert WFLW_98.norm(face, "box-diagonal", 256) == pytest.approx(np.hypot(40, 60))
    assert WFLW_98.norm(face, "box-size", 256) == pytest.approx(np.sqrt(40 * 60))
    assert WFLW_98.norm(np.stack([face, 2 * face]), "crop-size", 256).tolist() == [256, 256]
    assert WFLW_98.norm(np.stack([face, 2 * face]), "inter-ocular", 256).tolist() == [50, 100]


def test_pupils_of_68_points_are_means_of_the_lids():
    face = np.zeros((68, 2))
    face[36:42] = [(0, 0), (1, 3), (2, 3), (3, 0), (2, -3), (1, -3)]  # mean (1.5, 0)
    face[42:48] = face[36:42] + np.array((6, 8))
    assert IBUG_68.norm(face, "inter-pupil", 256) == pytest.approx(10)


def test_unknown_normaliser_lists_the_known():
    with pytest.raises(ValueError, match=r"normalizer is 'eyes', but cat-9 has: inter-ocular, box-size"):
        CAT_9.check_normalizer("eyes")


def test_own_markup(tmp_path):
    path = tmp_path / "hand.yaml"
    path.write_text(
        "name: hand\nnum_landmarks: 4\nflip_pairs: [[0, 3]]\nedges: [[0, 1], [1, 3]]\n"
        "normalizers:\n  palm: [[0, 1], [3]]\nparts:\n  thumb: [0]\n"
    )
    hand = load_markup(str(path))
    assert (hand.name, hand.num_landmarks, hand.flip) == ("hand", 4, (3, 1, 2, 0))
    assert hand.edges == ((0, 1), (1, 3))
    assert hand.parts == {"thumb": (0,)}
    points = np.array([(0.0, 0), (2, 0), (9, 9), (1, 7)])
    assert hand.norm(points, hand.default_normalizer, 1) == pytest.approx(7)  # from (1, 0) to (1, 7)


def test_own_markup_needs_only_a_name_and_a_count(tmp_path):
    path = tmp_path / "plain.yaml"
    path.write_text("name: plain\nnum_landmarks: 3\n")
    assert load_markup(str(path)).flip == (0, 1, 2)
    assert load_markup(str(path)).default_normalizer == "box-size"


WRONG = {
    "not yaml": ("name: [", "not readable as YAML"),
    "not a mapping": ("- 1\n- 2", "expected a mapping with at least 'name' and 'num_landmarks'"),
    "empty": ("", "expected a mapping with at least 'name' and 'num_landmarks'"),
    "no count": ("name: a", "expected a mapping with at least 'name' and 'num_landmarks'"),
    "unknown key": ({"flips": []}, "unknown key 'flips', expected edges, flip_pairs"),
    "count is text": ({"num_landmarks": "four"}, "num_landmarks is 'four', expected a whole number of at least 1"),
    "count is zero": ({"num_landmarks": 0}, "num_landmarks is 0, expected a whole number"),
    "count is yes": ({"num_landmarks": True}, "num_landmarks is True, expected a whole number"),
    "pair of three": ({"flip_pairs": [[0, 1, 2]]}, "flip_pairs has [0, 1, 2], expected a list of 2 landmarks"),
    "pair is no list": ({"flip_pairs": [3]}, "flip_pairs has 3, expected a list of 2 landmarks"),
    "pairs are no list": ({"flip_pairs": 3}, "flip_pairs is 3, expected a list of pairs"),
    "pair too high": (
        {"flip_pairs": [[0, 4]]},
        "flip_pairs has [0, 4], expected a list of 2 landmarks, numbered 0 to 3",
    ),
    "pair negative": ({"flip_pairs": [[0, -1]]}, "flip_pairs has [0, -1], expected"),
    "pair of fractions": ({"flip_pairs": [[0, 1.5]]}, "flip_pairs has [0, 1.5], expected"),
    "paired twice": ({"flip_pairs": [[0, 1], [1, 2]]}, "flip_pairs names landmark 1 twice"),
    "normaliser too high": ({"normalizers": {"eyes": [[0], [9]]}}, "normalizers: eyes has [9], expected a list of one"),
    "normaliser empty": ({"normalizers": {"eyes": [[0], []]}}, "normalizers: eyes has [], expected a list of one"),
    "normaliser of numbers": ({"normalizers": {"eyes": [0, 1]}}, "normalizers: eyes has 0, expected a list of one"),
    "normaliser of one": ({"normalizers": {"eyes": [[0]]}}, "normalizers: eyes is [[0]], expected two lists"),
    "normaliser known": ({"normalizers": {"box-size": [[0], [1]]}}, "normalizers has 'box-size', which every markup"),
    "normalisers are a list": ({"normalizers": [1]}, "normalizers is [1], expected names"),
    "part too high": ({"parts": {"nose": [0, 4]}}, "parts: nose has [0, 4], expected a list of one or more"),
    "part of words": ({"parts": {"nose": ["tip"]}}, "parts: nose has ['tip'], expected a list"),
    "edge too high": ({"edges": [[0, 8]]}, "edges has [0, 8], expected a list of 2 landmarks"),
}


@pytest.mark.parametrize(("content", "sentence"), WRONG.values(), ids=WRONG)
def test_wrong_markup_file_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "own.yaml"
    if isinstance(content, dict):
        content = yaml.safe_dump({"name": "own", "num_landmarks": 4} | content)
    path.write_text(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        load_markup(str(path))
    assert str(error.value).startswith(f"{path}: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_markup_that_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"markup is 'wflw', expected a \.yaml file or .* did you mean wflw-98\?"):
        load_markup("wflw")
    with pytest.raises(FileNotFoundError, match=r"markup file .*own\.yaml not found"):
        load_markup(str(tmp_path / "own.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"binary\.yaml: not readable as YAML"):
        load_markup(str(tmp_path / "binary.yaml"))
