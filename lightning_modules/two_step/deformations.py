"""Random deformations of images, and of points by the same map (Rahaman et al. 2021, section 2).

A deformation g moves a point p to g(p), and what an image shows at p to the same place. Here the inverse b is given,
b(q) = A (q + d(q)) with an affine A and a smooth displacement d, because the deformed image at q is the image at b(q);
g(p) is found by iteration. Letters: B frames, P points, H x W pixels; points are (x, y), the centre of the top-left
pixel is (0, 0).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from lightning_modules.processes import Draws
from lightning_modules.two_step.splines import COUNT, displacements, field, smooth, steepness, thin_plate

Method = TypeVar("Method", bound=Callable[..., Any])

STEEPEST = 0.6  # change of a displacement, in shares of the distance: below 1 no two points meet
ITERATIONS = 24  # by which the error of g is less than 0.6 ** 24 = 5e-6 of the displacement


def in_float32(method: Method) -> Method:
    """A method without autocast, which would round displacements and places to half a pixel."""

    @wraps(method)
    def run(*args: Any, **options: Any) -> Any:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return method(*args, **options)

    return cast(Method, run)


@dataclass(frozen=True)
class Deformation:
    """B maps of frames of H x W pixels.

    Args:
        affine: (B, 2, 3) A, from the deformed frame to the frame, in pixels.
        coefficients: (B, 2, m, m) of the spline d; see `splines`.
        height: H.
        width: W.
    """

    affine: Tensor
    coefficients: Tensor
    height: int
    width: int

    @in_float32
    def backward(self, points: Tensor) -> Tensor:
        """b: points (B, P, 2) of the deformed frames to where in the frames they come from."""
        points = points + displacements(self.coefficients, points, self.height, self.width)
        return points @ self.affine[:, :, :2].mT + self.affine[:, :, 2].unsqueeze(1)

    @in_float32
    def forward(self, points: Tensor) -> Tensor:
        """g: points (B, P, 2) of the frames to where they are in the deformed frames, perhaps outside of these."""
        straight = torch.linalg.solve(self.affine[:, :, :2], (points - self.affine[:, :, 2].unsqueeze(1)).mT).mT
        found = straight
        for _ in range(ITERATIONS):
            found = straight - displacements(self.coefficients, found, self.height, self.width)
        return found

    @in_float32
    def grid(self) -> Tensor:
        """B of all pixels: (B, H, W, 2)."""
        moved = field(self.coefficients, self.height, self.width)
        x, y = (torch.arange(size, dtype=moved.dtype, device=moved.device) for size in (self.width, self.height))
        x, y = moved[:, 0] + x, moved[:, 1] + y.unsqueeze(1)
        a = self.affine[:, :, :, None, None]
        return torch.stack([a[:, i, 0] * x + a[:, i, 1] * y + a[:, i, 2] for i in range(2)], dim=-1)

    @in_float32
    def warp(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Deformed images (B, C, H, W), and which pixels come from the frame (B, H, W); others repeat its edge."""
        grid = self.grid()
        size = torch.tensor([self.width, self.height], dtype=grid.dtype, device=grid.device)
        found = grid_sample(image.to(grid.dtype), (2 * grid + 1) / size - 1, padding_mode="border", align_corners=False)
        return found, self.inside(grid)

    def inside(self, points: Tensor) -> Tensor:
        """Which points (..., 2) are in the frame, the outer pixels' outer halves included."""
        x, y = points.unbind(dim=-1)
        return (x >= -0.5) & (x <= self.width - 0.5) & (y >= -0.5) & (y <= self.height - 0.5)


@dataclass(frozen=True)
class RandomDeformation:
    """Deformations drawn at random.

    Args:
        rotation: standard deviation in degrees.
        scale: standard deviation of the logarithm of the size.
        translation: standard deviation along x and along y, in shares of the sides.
        zoom: how much of a side is cut off at most, as a share: crops of random size at random places, enlarged.
        thin_plate: standard deviation of the moves of a thin-plate spline's control points, in shares of the sides,
            before splines that are steeper than `STEEPEST` are weakened: at 0.03 all are, to 0.6 of it in the median.
        control_points: of the thin-plate spline, along each side.
        elastic: standard deviation of the coefficients of an elastic deformation, in shares of the sides.
        elastic_cells: of these along each side: with more it changes over shorter distances.

    Raises:
        ValueError: for numbers out of range.
    """

    rotation: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    zoom: float = 0.0
    thin_plate: float = 0.0
    control_points: int = 5
    elastic: float = 0.0
    elastic_cells: int = 4

    def __post_init__(self) -> None:
        for key in ("rotation", "scale", "translation", "thin_plate", "elastic"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ValueError(f"{key} of a deformation is {getattr(self, key)}, expected a number of at least 0")
        if not 0 <= self.zoom < 1:
            raise ValueError(f"zoom of a deformation is {self.zoom}, expected a share, at least 0 and below 1")
        if not 2 <= self.control_points <= 20:
            raise ValueError(f"control_points of a deformation is {self.control_points}, expected 2 to 20")
        if not 1 <= self.elastic_cells <= 16:
            raise ValueError(f"elastic_cells of a deformation is {self.elastic_cells}, expected 1 to 16")

    @in_float32
    def draw(self, draws: Draws, height: int, width: int) -> Deformation:
        """One of frames of height x width pixels for each sample."""
        normal = draws.randn
        side = torch.tensor([width, height], dtype=draws.dtype, device=draws.device)
        n, cells = self.control_points, self.elastic_cells + 3
        moves = self.thin_plate * side * normal(n, n, 2), self.elastic * side * normal(cells, cells, 2)
        coefficients = thin_plate(moves[0]) + smooth(moves[1])
        steep = steepness(coefficients, height, width)
        coefficients = coefficients * (STEEPEST / steep.clamp_min(STEEPEST)).view(-1, 1, 1, 1)
        angle, size = math.radians(self.rotation) * normal(), (self.scale * normal()).exp()
        share = 1 - self.zoom * draws.rand()  # of a side that is kept
        place = (draws.rand(2) - 0.5) * (1 - share).unsqueeze(1) * side
        linear = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
        linear = linear * (share / size).view(-1, 1, 1)
        middle = (side - 1) / 2
        origin = middle + place + self.translation * side * normal(2) - linear @ middle
        return Deformation(torch.cat([linear, origin.unsqueeze(2)], dim=2), coefficients, height, width)


def identity(count: int, height: int, width: int, device: torch.device) -> Deformation:
    """Deformations that move nothing."""
    affine = torch.eye(2, 3, device=device).expand(count, -1, -1)
    return Deformation(affine, torch.zeros(count, 2, COUNT, COUNT, device=device), height, width)
