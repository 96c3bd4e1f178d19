"""COFW, COFW-68 and AFLW with drawn faces, in MATLAB files laid out as the published ones are."""

import h5py
import numpy as np
from scipy.io import savemat

from datamodules.markup import IBUG_68
from tests.drawn_faces import draw, ibug_face, random_face, save

# The 98 drawn points that COFW's 29 and AFLW's 19 are, in their order.
COFW_OF_WFLW = [33, 46, 37, 42, 35, 40, 44, 48, 60, 72, 64, 68, 62, 66, 70, 74, 96, 97, 55, 59, 54, 57, 76, 82]
COFW_OF_WFLW += [79, 90, 94, 85, 16]
AFLW_OF_WFLW = [33, 35, 37, 42, 44, 46, 60, 96, 64, 68, 97, 72, 55, 54, 59, 76, 90, 82, 16]


def write_matlab73(path, variables):
    """A file as ``save -v7.3`` makes it: HDF5 after a text of 512 bytes, axes reversed, cells (M x 1) by reference.

    A variable is an array of numbers, or a list of arrays or texts: a cell array.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if isinstance(value, list):
                cells = [_variable(file, f"#refs#/{name}{i}", cell).ref for i, cell in enumerate(value)]
                node = file.create_dataset(name, data=np.array([cells], h5py.ref_dtype), dtype=h5py.ref_dtype)
                node.attrs["MATLAB_class"] = np.bytes_("cell")
            else:
                _variable(file, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM")


def _variable(file, name, value):
    kind = "char" if isinstance(value, str) else "uint8" if value.dtype == np.uint8 else "double"
    if isinstance(value, str):
        value = np.frombuffer(value.encode("utf-16-le"), np.uint16)[None]
    if value.size:
        node = file.create_dataset(name, data=value.T, compression="gzip")
    else:
        node = file.create_dataset(name, data=np.array(value.shape, np.uint64))  # its sides in its place
        node.attrs["MATLAB_empty"] = np.uint8(1)
    node.attrs["MATLAB_class"] = np.bytes_(kind)
    return node


def write_matlab5(path, variables):
    """The same variables as ``save -v7`` writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = dict(variables)
    for name, value in variables.items():
        if isinstance(value, list):
            content[name] = np.empty((len(value), 1), object)
            content[name][:, 0] = value
    savemat(path, content, do_compression=True)


def cofw_variables(ending, count, seed=0):
    """What a file of COFW holds, and the faces (count, 29, 2) in it; every third image is grey.

    Landmark i of face i is occluded.
    """
    rng = np.random.default_rng(seed)
    images, faces = [], []
    for index in range(count):
        face = random_face(rng, (60, 50), 25)
        image = draw([face], 120 + index, 100)
        images.append(image[..., 0] if index % 3 == 2 else image)
        faces.append(face[COFW_OF_WFLW])
    faces = np.array(faces)
    first, last = np.floor(faces.min(axis=1)), np.ceil(faces.max(axis=1))
    phis = np.concatenate([faces[..., 0] + 1, faces[..., 1] + 1, np.eye(count, 29)], axis=1)
    boxes = np.concatenate([first + 1, last - first], axis=1)
    return {f"Is{ending}": images, f"phis{ending}": phis, f"bboxes{ending}": boxes}, faces


def write_cofw(root, train=8, test=6):
    """COFW in ``root``; the landmarks (train, 29, 2) and (test, 29, 2) in pixels counted from 0."""
    of_train, train_faces = cofw_variables("Tr", train, seed=0)
    of_test, test_faces = cofw_variables("T", test, seed=1)
    write_matlab73(root / "COFW_train_color.mat", of_train)
    write_matlab73(root / "COFW_test_color.mat", of_test)
    return train_faces, test_faces


def write_cofw68(root, test=4, seed=0):
    """COFW-68 in ``root``; the landmarks (test, 68, 2) in pixels counted from 0. Landmark 5 of each is occluded."""
    rng = np.random.default_rng(seed)
    faces = ibug_face() * rng.uniform(0.8, 1.2, (test, 1, 2)) * 25 + (60, 50)
    images = [draw([face], 120, 100, IBUG_68) for face in faces]
    write_matlab73(root / "COFW_test_color.mat", {"IsT": images, "phisT": np.zeros((test, 87))})
    for i, face in enumerate(faces):
        points = {"Points": face + 1, "Occ": (np.arange(68) == 5).astype(np.uint8)[:, None]}
        write_matlab5(root / f"cofw68_test_annotations/{i + 1}_points.mat", points)
    first = faces.min(axis=1)
    write_matlab5(root / "cofw68_test_bboxes.mat", {"bboxes": np.hstack([first + 1, faces.max(axis=1) - first])})
    return faces


def write_aflw(root, faces=20, seed=0, write=write_matlab5):
    """AFLW in ``root``, two faces an image; returns its variables. Odd faces have a hidden landmark."""
    rng = np.random.default_rng(seed)
    names, drawn = [], []
    for index in range(faces // 2):
        pair = [random_face(rng, centre, 22) for centre in ((50, 50), (120, 60))]
        names += 2 * [f"{(0, 2, 3)[index % 3]}/image{index:05d}.jpg"]
        save(draw(pair, 170, 110), root / "data/flickr" / names[-1])
        drawn += [face[AFLW_OF_WFLW] for face in pair]
    drawn = np.array(drawn)
    left, top = np.floor(drawn.min(axis=1)).T
    mask = np.ones((faces, 19))
    mask[np.arange(1, faces, 2), np.arange(1, faces, 2) % 19] = 0
    variables = {
        "bbox": np.stack([left, left + 60, top, top + 50], axis=1),
        "data": np.hstack([drawn[..., 0], drawn[..., 1]]),
        "mask_new": mask,
        "nameList": names,
        "ra": rng.permutation(faces)[None] + 1.0,
    }
    write(root / "AFLWinfo_release.mat", variables)
    return variables
