"""Landmarks as cells and offsets: both ways, and the conventions."""

import pytest
import torch

from lightning_modules.pipnet.targets import decode, encode, one_hot_scores

NONE = torch.empty(40, 0, dtype=torch.int64)


def places(stride, width, height, low, high):
    """40 landmarks of 3 faces, in shares ``low`` to ``high`` of the image, in pixels."""
    generator = torch.Generator().manual_seed(stride)
    share = low + (high - low) * torch.rand(3, 40, 2, generator=generator)
    return share * torch.tensor([width, height]) * stride - 0.5


@pytest.mark.parametrize("stride", [16, 32, 64, 128])
def test_decoding_is_the_inverse_of_encoding(stride):
    width, height = 512 // stride, 768 // stride
    landmarks = places(stride, width, height, 0, 1)
    targets = encode(landmarks, NONE, stride, width, height)
    torch.testing.assert_close(decode(targets.cell, targets.own, stride, width), landmarks, atol=1e-4, rtol=0)
    assert ((targets.own >= 0) & (targets.own < 1)).all()
    column, row = targets.cell % width, targets.cell // width
    for axis, cell in enumerate((column, row)):  # pixel p, whose middle is p, lies in (p + 0.5) / stride
        assert cell.tolist() == [[int((p + 0.5) // stride) for p in face] for face in landmarks[..., axis].tolist()]


@pytest.mark.parametrize("stride", [16, 32, 64, 128])
def test_a_landmark_beyond_the_map_is_encoded_from_the_nearest_cell(stride):
    width, height = 512 // stride, 768 // stride
    landmarks = places(stride, width, height, -0.5, 1.5)
    targets = encode(landmarks, NONE, stride, width, height)
    torch.testing.assert_close(decode(targets.cell, targets.own, stride, width), landmarks, atol=2e-4, rtol=0)
    beyond = (landmarks < -0.5) | (landmarks >= torch.tensor([512.0, 768.0]) - 0.5)
    assert beyond.any(dim=-1).sum() > 20
    assert (((targets.own < 0) | (targets.own >= 1)) == beyond).all()
    left_above = (landmarks < -0.5).all(dim=-1)
    assert left_above.any()
    assert (targets.cell[left_above] == 0).all()


@pytest.mark.parametrize(
    ("point", "cell", "offset"),
    [
        ((-0.5, -0.5), 0, (0, 0)),  # the image's corner
        ((0, 0), 0, (0.5 / 32, 0.5 / 32)),  # the middle of its first pixel
        ((31.5, 0), 1, (0, 0.5 / 32)),  # between two cells: the right one's
        ((47.5, 79.5), 7, (0.5, 0.5)),  # the middle of a cell
        ((95.5, 95.5), 8, (1, 1)),  # the opposite corner
        ((-32.5, 111.5), 6, (-1, 1.5)),
    ],
)
def test_by_hand_on_three_by_three_cells_of_32_pixels(point, cell, offset):
    targets = encode(torch.tensor([[point]], dtype=torch.float32), NONE[:1], 32, 3, 3)
    assert targets.cell.item() == cell
    assert targets.own.flatten().tolist() == pytest.approx(offset)


def test_neighbours_are_told_from_the_landmarks_own_cell():
    """The paper's example (section 3.2): a neighbour in the cell to the right, at 1.8 and 0.7."""
    landmarks = torch.tensor([[[10.0, 15.5], [1.8 * 32 - 0.5, 0.7 * 32 - 0.5]]])
    targets = encode(landmarks, torch.tensor([[1], [0]]), 32, 3, 3)
    assert targets.neighbours[0, 0, 0].tolist() == pytest.approx([1.8, 0.7])
    assert targets.neighbours[0, 1, 0].tolist() == pytest.approx([10.5 / 32 - 1, 0.5])


def test_neighbours_decode_to_where_they_are():
    landmarks = places(32, 8, 8, -0.2, 1.2)
    neighbours = torch.randint(40, (40, 3), generator=torch.Generator().manual_seed(0))
    targets = encode(landmarks, neighbours, 32, 8, 8)
    found = decode(targets.cell, targets.neighbours, 32, 8)
    torch.testing.assert_close(found, landmarks[:, neighbours], atol=1e-4, rtol=0)


def test_score_maps_are_one_in_the_cell():
    cell = torch.tensor([[0, 5], [14, 7]])
    maps = one_hot_scores(cell, width=5, height=3)
    assert maps.shape == (2, 2, 3, 5)
    assert maps.flatten(2).argmax(dim=-1).tolist() == cell.tolist()
    assert maps.sum(dim=(-2, -1)).tolist() == [[1, 1], [1, 1]]
    assert maps[1, 0, 2, 4] == 1  # counted along the rows
    assert maps.unique().tolist() == [0, 1]
