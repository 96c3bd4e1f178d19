"""Stacked hourglass network (Newell et al. 2016, arXiv:1603.06937)."""

from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from lightning_modules.backbones.channels_last import channels_last
from lightning_modules.backbones.heatmap_convolution import HeatmapConv2d
from lightning_modules.backbones.normalization import IMAGENET, Normalization
from lightning_modules.backbones.sides import check_sides

DEPTH = 4  # halvings of an hourglass


class StackedHourglassNetwork(nn.Module):
    """Images (B, 3, H, W) to a list of heatmaps (B, N, H / 4, W / 4), one of each hourglass.

    Args:
        num_landmarks: N.
        stacks: hourglasses, each of which sees the features and heatmaps of the one before.
        width: channels of all features.
    """

    stride = 4
    least_side = usual_side = 4 * 2**DEPTH

    def __init__(self, num_landmarks: int, stacks: int, width: int) -> None:
        super().__init__()
        self.normalize = Normalization(*IMAGENET)
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 4, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width // 4),
            nn.ReLU(inplace=True),
            Residual(width // 4, width // 2),
            nn.MaxPool2d(2),
            Residual(width // 2, width // 2),
            Residual(width // 2, width),
        )
        self.hourglasses = nn.ModuleList(Hourglass(width) for _ in range(stacks))
        self.features = nn.ModuleList(
            nn.Sequential(
                Residual(width, width),
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for _ in range(stacks)
        )
        self.heads = nn.ModuleList(HeatmapConv2d(width, num_landmarks, 1) for _ in range(stacks))
        self.again = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))
        self.seen = nn.ModuleList(nn.Conv2d(num_landmarks, width, 1) for _ in range(stacks - 1))
        channels_last(self)

    def check_sides(self, height: int, width: int) -> None:
        """Refuse images that cannot be halved as often as they are."""
        check_sides(height, width, self.least_side)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        self.check_sides(*image.shape[-2:])
        passed = self.stem(self.normalize(image))
        found: list[Tensor] = []
        for stack, hourglass in enumerate(self.hourglasses):
            features = self.features[stack](hourglass(passed))
            found.append(self.heads[stack](features))
            if stack < len(self.again):
                passed = passed + self.again[stack](features) + self.seen[stack](found[-1])
        return found


class Hourglass(nn.Module):
    """Features (B, C, h, w) to the same, by way of ones of half the resolution, ..., and of a sixteenth.

    Args:
        width: C.
        depth: halvings.
    """

    def __init__(self, width: int, depth: int = DEPTH) -> None:
        super().__init__()
        self.beside = Residual(width, width)
        self.down = Residual(width, width)
        self.inner = Hourglass(width, depth - 1) if depth > 1 else Residual(width, width)
        self.up = Residual(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        below = self.up(self.inner(self.down(max_pool2d(features, 2))))
        found: Tensor = self.beside(features) + interpolate(below, scale_factor=2.0)
        return found


class Residual(nn.Module):
    """Batch norm, ReLU and convolution, three times (1x1 and 3x3 at half the width, 1x1), added to the input.

    Args:
        channels: of the input; a 1x1 convolution of it is added to where they are not the width.
        width: of the output.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = (channels, width // 2, width // 2, width)
        self.body = nn.Sequential()
        for i, side in enumerate((1, 3, 1)):
            self.body += nn.Sequential(
                nn.BatchNorm2d(widths[i]),
                nn.ReLU(),
                nn.Conv2d(widths[i], widths[i + 1], side, padding=side // 2),
            )
        self.shortcut = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        found: Tensor = self.body(features) + self.shortcut(features)
        return found
