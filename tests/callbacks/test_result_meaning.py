"""What a result says of its crops."""

import pytest

from callbacks.result_meaning import box_meaning
from datamodules.crop import BOX_CONVENTIONS

MEANINGS = {
    "landmarks-1.5": "a square around the tight box of the true landmarks, 1.5 times as wide as its longer side: the "
    "test knows where the face is",
    "provided-1.0": "a square around the rectangle that the dataset provides, as wide as its longer side",
    "provided-1.2-lowered-0.1": "a square around the rectangle that the dataset provides with its edges moved outwards "
    "(left 10 %, top -10 %, right 10 %, bottom 10 %), as wide as its longer side",
    "image": "a square around the whole image, as wide as its longer side: the files are crops already",
}


@pytest.mark.parametrize("box", MEANINGS)
def test_a_box_in_words(box):
    convention = BOX_CONVENTIONS[box]
    assert box_meaning(convention.source, convention.outwards) == MEANINGS[box]
