"""Where the datasets are published, and where each file of their archives belongs below the root that a reader takes.

Sizes are approximate and say where they are from; they and licences are given only where they are documented in public.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

ASK = "see the authors' page"
IMAGE = r"[^/]+\.(?:jpe?g|png)"


@dataclass(frozen=True)
class PublishedSet:
    """A published dataset.

    Args:
        title: name, content and paper.
        site: where its authors publish it.
        files: the archives, as they are called there.
        readers: classes that read it, as ``data.class_path`` has them.
        rules: patterns of paths in the archives, whatever folders are above them, and the paths below the root; the
            first that fits counts.
        needs: paths below the root (as of `Path.glob`) that must be there in the end, and the archive that has them.
        licence: what its authors allow.
        size: of the archives.
        note: what else has to be known.
    """

    title: str
    site: str
    files: tuple[str, ...]
    readers: tuple[str, ...]
    rules: Mapping[str, str]
    needs: Mapping[str, str]
    licence: str = ASK
    size: str = ASK
    note: str = ""

    def place(self, name: str) -> str | None:
        """The path below the root of a file in an archive, None where the set needs no such file."""
        for pattern, target in self.rules.items():
            if match := re.fullmatch(f"(?:.*/)?{pattern}", name):
                return match.expand(target)
        return None


IBUG = "ibug.doc.ic.ac.uk/resources/"
RESEARCH = "non-commercial research only"
COFW_SIZE = "COFW_color.zip about 503 MB (CaltechDATA, record D1.20099)"
COFW_LICENCE = "CC BY 4.0 (CaltechDATA, record D1.20099)"
CELEBA_SIZE = "img_align_celeba.zip about 1.4 GB (copies of it on the Hugging Face Hub)"

_W300_FOLDERS = {"afw": "afw.zip", "ibug": "ibug.zip"} | {
    f"{name}/{part}": f"{name}.zip" for name in ("helen", "lfpw") for part in ("trainset", "testset")
}
_W300_RULES = {
    r"(afw|ibug)/([^/]+\.(?:pts|jpe?g|png))": r"\1/\2",
    r"(helen|lfpw)/(trainset|testset)/([^/]+\.(?:pts|jpe?g|png))": r"\1/\2/\3",
    r"(01_Indoor|02_Outdoor)/([^/]+\.(?:pts|jpe?g|png))": r"Test/\1/\2",
    r"(bounding_boxes_\w+\.mat)": r"Bounding Boxes/\1",
}
_CELEBA_RULES = {
    rf"img_align_celeba(?:_hq)?/({IMAGE})": r"Img/img_align_celeba/\1",
    r"((?:list_landmarks_align_celeba|list_bbox_celeba|identity_CelebA)\.txt)": r"Anno/\1",
    r"(list_eval_partition\.txt)": r"Eval/\1",
    r"((?:training|testing)\.txt)": r"MAFL/\1",
}
_MAFL_FILES = ("img_align_celeba.zip", "list_landmarks_align_celeba.txt", "training.txt", "testing.txt")
_MAFL_NEEDS = {
    "Img/img_align_celeba/*.jpg": "img_align_celeba.zip",
    "Anno/list_landmarks_align_celeba.txt": "list_landmarks_align_celeba.txt",
    "MAFL/training.txt": "training.txt of MAFL",
    "MAFL/testing.txt": "testing.txt of MAFL",
}
_MENPO_FOLDERS = [(part, pose) for part in ("Train", "Test") for pose in ("semifrontal", "profile")]


def _menpo_rules(split: str) -> dict[str, str]:
    return {
        rf"(?i:{split})(?:set|ing)?/(?:image/)?(semifrontal|profile)/([^/]+\.(?:pts|jpe?g|png))": (
            rf"{split.title()}/image/\1/\2"
        ),
        rf"(Menpo2D_(?:semifrontal|profile)_{split}\.txt)": rf"{split.title()}/\1",
    }


PUBLISHED = {
    "wflw": PublishedSet(
        title="WFLW, 10,000 faces with 98 landmarks (Wu et al. 2018, arXiv:1805.10483)",
        site="wywu.github.io/projects/LAB/WFLW.html",
        files=("WFLW_images.tar.gz", "WFLW_annotations.tar.gz"),
        readers=("datamodules.wflw.WFLW",),
        rules={
            rf"WFLW_images/(.+/{IMAGE})": r"WFLW_images/\1",
            r"(list_98pt_\w+/list_98pt_\w+\.txt)": r"WFLW_annotations/\1",
            r"(Mirror98\.txt)": r"WFLW_annotations/\1",
        },
        needs={
            "WFLW_images/*/*.*": "WFLW_images.tar.gz",
            "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt": "WFLW_annotations.tar.gz",
            "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt": "WFLW_annotations.tar.gz",
        },
    ),
    "wflw_cropped": PublishedSet(
        title="WFLW in face crops of 256 x 256 pixels, as LDEQ and HIH used it",
        site="linked from github.com/starhiking/HeatmapInHeatmap",
        files=("WFLW.zip",),
        readers=("datamodules.wflw_cropped.WFLWCropped",),
        rules={rf"((?:train|test)/{IMAGE})": r"\1", r"((?:train|test(?:_[a-z]+)?)\.txt)": r"\1"},
        needs=dict.fromkeys(("train.txt", "test.txt", "train/*.png", "test/*.png"), "WFLW.zip"),
    ),
    "w300": PublishedSet(
        title="300-W, 3,837 faces with 68 landmarks (Sagonas et al. 2013)",
        site=f"{IBUG}facial-point-annotations",
        files=("afw.zip", "helen.zip", "ibug.zip", "lfpw.zip", "bounding_boxes.zip (optional)"),
        readers=("datamodules.w300.W300",),
        rules=_W300_RULES,
        needs={f"{folder}/*.pts": archive for folder, archive in _W300_FOLDERS.items()},
        licence=RESEARCH,
    ),
    "w300_private": PublishedSet(
        title="300-W's 600 test faces, indoor and outdoor, with its training faces (Sagonas et al. 2016)",
        site=f"{IBUG}300-W",
        files=("300w.zip (four parts, to be joined)", "afw.zip", "helen.zip", "lfpw.zip"),
        readers=("datamodules.w300.W300Private",),
        rules=_W300_RULES,
        needs={f"Test/{folder}/*.pts": "300w.zip" for folder in ("01_Indoor", "02_Outdoor")}
        | {f"{folder}/*.pts": _W300_FOLDERS[folder] for folder in ("afw", "helen/trainset", "lfpw/trainset")},
        licence=RESEARCH,
    ),
    "cofw": PublishedSet(
        title="COFW, 1,852 occluded faces with 29 landmarks, in colour (Burgos-Artizzu et al. 2013)",
        site="data.caltech.edu, Caltech Occluded Faces in the Wild",
        files=("COFW_color.zip",),
        readers=("datamodules.cofw.COFW",),
        rules={r"(COFW_(?:train|test)_color\.mat)": r"\1"},
        needs={f"COFW_{split}_color.mat": "COFW_color.zip" for split in ("train", "test")},
        licence=COFW_LICENCE,
        size=COFW_SIZE,
    ),
    "cofw68": PublishedSet(
        title="COFW's 507 test faces with 68 landmarks (Ghiasi and Fowlkes 2015, arXiv:1506.08347)",
        site="github.com/golnazghiasi/cofw68-benchmark; the faces as for cofw",
        files=("the repository as zip", "COFW_color.zip"),
        readers=("datamodules.cofw.COFW68",),
        rules={
            r"(COFW_test_color\.mat)": r"\1",
            r"(?:cofw68_)?test_annotations/(\d+_points\.mat)": r"cofw68_test_annotations/\1",
            r"(cofw68_test_bboxes\.mat)": r"\1",
        },
        needs={
            "COFW_test_color.mat": "COFW_color.zip",
            "cofw68_test_annotations/*_points.mat": "the repository's zip",
            "cofw68_test_bboxes.mat": "the repository's zip",
        },
        licence=f"faces {COFW_LICENCE}; of the annotations, {ASK}",
        size=COFW_SIZE,
    ),
    "aflw": PublishedSet(
        title="AFLW, 24,386 faces with 19 landmarks (Köstinger et al. 2011; landmarks by Zhu et al. 2016)",
        site="images on request from TU Graz (Institute of Computer Graphics and Vision, AFLW); landmarks at "
        "mmlab.ie.cuhk.edu.hk/projects/compositional.html",
        files=("aflw-images-0.tar.gz", "aflw-images-2.tar.gz", "aflw-images-3.tar.gz", "AFLWinfo_release.mat"),
        readers=("datamodules.aflw.AFLW",),
        rules={rf"flickr/([023]/{IMAGE})": r"data/flickr/\1", r"(AFLWinfo_release\.mat)": r"\1"},
        needs={f"data/flickr/{part}/*.jpg": f"aflw-images-{part}.tar.gz" for part in "023"}
        | {"AFLWinfo_release.mat": "AFLWinfo_release.mat"},
        licence=RESEARCH,
    ),
    "menpo2d": PublishedSet(
        title="Menpo2D, semi-frontal faces with 68 and profiles with 39 landmarks (Deng et al. 2018)",
        site="github.com/jiankangdeng/MenpoBenchmark",
        files=("the archives of training and test faces",),
        readers=("datamodules.menpo2d.Menpo2DSemifrontal", "datamodules.menpo2d.Menpo2DProfile"),
        rules=_menpo_rules("train") | _menpo_rules("test"),
        needs={f"{part}/image/{pose}/*.*": f"the archive of {part.lower()} faces" for part, pose in _MENPO_FOLDERS},
        licence="the landmarks are IBUG's; each image has the licence of its authors (the benchmark's README)",
    ),
    "w300vw": PublishedSet(
        title="300VW, 114 videos of 218,597 frames with 68 landmarks (Shen et al. 2015)",
        site=f"{IBUG}300-VW",
        files=("the archive of the 2015 release (join its parts)",),
        readers=("datamodules.w300vw.W300VW",),
        rules={r"(\d{3})/(vid\.avi|annot/\d+\.pts)": r"\1/\2"},
        needs={"*/vid.avi": "300VW's archive", "*/annot/*.pts": "300VW's archive"},
        licence=f"{RESEARCH}, on request",
    ),
    "wflw_v": PublishedSet(
        title="WFLW-V, 1,000 videos with 98 landmarks made by models (Micaelli et al. 2023, arXiv:2304.00600)",
        site="github.com/polo5/LDEQ_RwR: landmarks, boxes and lists; its script fetches the videos from YouTube",
        licence="videos under Creative Commons; else see the authors' page",
        files=("the archives of landmarks and bboxes", "your videos", "easy_video_IDs.txt", "hard_video_IDs.txt"),
        readers=("datamodules.wflw_v.WFLWV",),
        rules={
            r"(bboxes|landmarks)/([^/]+\.npy)": r"\1/\2",
            r"videos/([^/]+\.mp4)": r"videos/\1",
            r"((?:easy|hard)_video_IDs\.txt)": r"\1",
        },
        needs={
            "videos/*.mp4": "the videos",
            "landmarks/*.npy": "the landmarks",
            "bboxes/*.npy": "the boxes",
            "easy_video_IDs.txt": "easy_video_IDs.txt",
            "hard_video_IDs.txt": "hard_video_IDs.txt",
        },
    ),
    "celeba": PublishedSet(
        title="CelebA, 202,599 aligned faces with 5 landmarks (Liu et al. 2015, arXiv:1411.7766)",
        site="mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        files=(*_MAFL_FILES, "list_eval_partition.txt"),
        readers=("datamodules.celeba.CelebA", "datamodules.celeba.MAFL"),
        rules=_CELEBA_RULES,
        needs=_MAFL_NEEDS | {"Eval/list_eval_partition.txt": "list_eval_partition.txt"},
        licence=RESEARCH,
        size=CELEBA_SIZE,
        note="training.txt and testing.txt of MAFL (see mafl) keep its faces out of the training faces",
    ),
    "mafl": PublishedSet(
        title="MAFL, 20,000 faces of CelebA with 5 landmarks (Zhang et al. 2014)",
        site="lists at github.com/zhzhanp/TCDCN-face-alignment (MAFL); the faces as for celeba",
        files=_MAFL_FILES,
        readers=("datamodules.celeba.MAFL",),
        rules=_CELEBA_RULES,
        needs=_MAFL_NEEDS,
        licence=RESEARCH,
        size=CELEBA_SIZE,
    ),
    "cat_head": PublishedSet(
        title="CAT, nearly 10,000 cats with 9 landmarks (Zhang et al. 2008)",
        site="archive.org/details/CAT_DATASET",
        files=("CAT_DATASET_01.zip", "CAT_DATASET_02.zip", "00000003_015.jpg.cat"),
        readers=("datamodules.cat_head.CatHead",),
        rules={
            rf"(CAT_0[0-6])/((?!00000003_019\.jpg\.cat){IMAGE}(?:\.cat)?)": r"\1/\2",
            r"(00000003_015\.jpg\.cat)": r"CAT_00/\1",
            r"(cat_(?:train|test)_images\.txt)": r"\1",
        },
        needs={f"CAT_0{i}/*.cat": f"CAT_DATASET_0{1 if i < 3 else 2}.zip" for i in range(7)}
        | {"CAT_00/00000003_015.jpg.cat": "00000003_015.jpg.cat, beside the archives"},
        size="about 1.2 GB and 0.95 GB (a detector's README on GitHub that gets them from archive.org)",
        note="the archives have 00000003_019.jpg.cat in place of 00000003_015.jpg.cat, which is published beside them",
    ),
    "bbc_pose": PublishedSet(
        title="BBC Pose, 20 videos of signers with 7 joints (Charles et al. 2013)",
        site="www.robots.ox.ac.uk/~vgg/data/pose",
        files=("the 20 tar archives in bbcpose_data_1.0.zip", "bbcpose_extbbcpose_code_1.0 as zip or tgz"),
        readers=("datamodules.bbc_pose.BBCPose",),
        rules={
            r"([1-9]|1\d|20)/(\d+\.jpg)": r"\1/\2",
            r"((?:bbcpose|results)\.mat)": r"code/\1",
        },
        needs={f"{video}/*.jpg": "bbcpose_data_1.0.zip" for video in range(1, 21)}
        | {f"code/{name}.mat": "bbcpose_extbbcpose_code_1.0" for name in ("bbcpose", "results")},
    ),
}
