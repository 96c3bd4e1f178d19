"""Samples of a dataset, seen in the pixels of the images that they are cut out of."""

from datamodules.crop import transform


def landmarks_in_image(sample):
    """The landmarks (N, 2) of a sample, which has them in pixels of its crop, in those of its image."""
    return transform(sample["crop"].double().numpy(), sample["landmarks"].double().numpy())
