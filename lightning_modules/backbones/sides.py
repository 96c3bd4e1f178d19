"""The check that images have a size which a network can take."""


def check_sides(height: int, width: int, step: int, otherwise: str = "") -> None:
    """Refuse images whose sides are not divisible by a step.

    Args:
        height: of the images in pixels.
        width: of the images in pixels.
        step: least common multiple of the network's strides.
        otherwise: what else can be done than choosing another size.

    Raises:
        ValueError: they are not.
    """
    if height % step or width % step:
        raise ValueError(
            f"images are {width} x {height} pixels, expected sides divisible by {step}; set the data's size "
            f"(data.init_args.size, in a mixture that of each part) to a multiple of it{otherwise}"
        )
