"""The check that images have a size which a network can take."""


def check_sides(height: int, width: int, step: int) -> None:
    """Refuse images whose sides are not divisible by a step.

    Raises:
        ValueError: they are not.
    """
    if height % step or width % step:
        raise ValueError(
            f"images are {width} x {height} pixels, expected sides divisible by {step}; set data.init_args.size to a "
            "multiple of it"
        )
