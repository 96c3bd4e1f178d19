"""How landmarks move from frame to frame, as functions of tensors.

Letters: T consecutive frames, N landmarks, r = target - prediction. Points are (x, y) in pixels of the video: a crop
that moves with the face would add its own motion. Lengths are divided by the size of the face, the square root of the
area of its annotated landmarks' box in the frame itself, as the code of Micaelli et al. 2023 (arXiv:2304.00600) does
(the paper says "face area" only).
"""

import torch
from torch import Tensor

FACE = 256  # pixels: side of the face that lengths are told for


def face_sizes(target: Tensor) -> Tensor:
    """Square roots (..., ) of the areas of the boxes of landmarks (..., N, 2), in their pixels."""
    width, height = (target.amax(dim=-2) - target.amin(dim=-2)).unbind(dim=-1)
    return (width * height).sqrt()


def flicker(pred: Tensor, target: Tensor) -> Tensor:
    """Squares of NMF_n (..., T - 1), Eq. 11a: of frames 2 to T of landmarks (..., T, N, 2); in faces, squared."""
    change = (target - pred).diff(dim=-3)
    return change.square().sum(dim=-1).mean(dim=-1) / face_sizes(target[..., 1:, :, :]).square()


def normalized_mean_flicker(pred: Tensor, target: Tensor) -> Tensor:
    """NMF (...,) of whole videos (..., T, N, 2) by Eq. 11b, in faces: the sum over T - 1 changes is divided by T."""
    return (flicker(pred, target).sum(dim=-1) / pred.shape[-3]).sqrt()


def table_flicker(pred: Tensor, target: Tensor) -> Tensor:
    """NMF (...,) in the unit of the paper's Table 3, which is that of its code: hundredths of a pixel of a 256-px face.

    The code divides by the number of changes, so this is 25,600 sqrt(T / (T - 1)) times `normalized_mean_flicker`.
    """
    return 100 * FACE * flicker(pred, target).mean(dim=-1).sqrt()


def acceleration_errors(pred: Tensor, target: Tensor) -> Tensor:
    """Mean over the landmarks of |second difference of r| (..., T - 2), of frames 3 to T, in faces a frame^2.

    The acceleration error of Kanazawa et al. 2019 (arXiv:1812.01601), who have it in mm of body joints.
    """
    change = (target - pred).diff(n=2, dim=-3)
    return torch.linalg.vector_norm(change, dim=-1).mean(dim=-1) / face_sizes(target[..., 2:, :, :])


def jitters(pred: Tensor, target: Tensor) -> Tensor:
    """Mean over the landmarks of |third difference of the prediction| (..., T - 3), in faces a frame^3.

    The jitter of pose estimation (Yi et al. 2021, arXiv:2105.04605), which looks at no truth but for the face's size:
    what really moves fast has it too.
    """
    change = pred.diff(n=3, dim=-3)
    return torch.linalg.vector_norm(change, dim=-1).mean(dim=-1) / face_sizes(target[..., 3:, :, :])
