"""300VW (Shen et al. 2015, ICCV workshops): 114 videos whose every frame is marked with 68 landmarks."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.file_index import list_files, parsed
from datamodules.markup import IBUG_68
from datamodules.pts_files import read_pts
from datamodules.published_videos import PublishedVideos
from datamodules.video_faces import VideoFaces

# By the numbers of the folders; the others train.
SCENARIOS = {
    "scenario 1": (  # well lit, in a laboratory or not
        "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 537 538 540 "
        "541 546 547 548"
    ),
    "scenario 2": "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553",  # at computers
    "scenario 3": "410 411 516 517 526 528 529 530 531 533 557 558 559 562",  # arbitrary conditions
}
TRAIN = (
    "001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037 039 041 043 "
    "044 046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225"
)
SCENARIO = {video: name for name, videos in SCENARIOS.items() for video in videos.split()}

# Frames whose labels nobody scores, counted from 1. Their list goes round with 300VW (MMPose has it). Without these
# 2,127 of the 218,597 frames there are 95,192 to train and 62,135, 32,805 and 26,338 to test, the published counts.
UNSCORED = {
    "401": (
        "722-724 727-731 788-789 792 795 810-811 850-891 897-898 902-903 910-911 913-923 1122-1137 1140 1143-1158 "
        "1160-1164 1381 1543-1545 1605-1606 1614-1615 1618"
    ),
    "402": "677-678 682 686-695 805-814 1015-1042 1068 1075-1078 1080 1082-1096 1664 1666-1701",
    "410": (
        "148 150 176 178-180 182-184 186-188 190-192 194-196 198-200 202-204 206-208 283-284 286-288 290-292 294 "
        "316-344 542-543 626 686-688 690-692 694-695 700 816 823-832 834-835 1058-1059 1118-1132 1183-1192 1194 "
        "1218-1230 1232 1234-1235 1239-1240 1242-1243 1282-1284 1286-1288 1290-1292 1294"
    ),
    "411": (
        "19-20 60 80 82-120 231-232 234-370 454-475 480 486-517 522-573 578 627-631 702-703 707 1271-1272 1274-1289"
    ),
    "508": (
        "14 147-150 267-274 367-368 370-373 382 613 618 831-832 870 930-935 1029 1086-1088 1175-1176 1179-1184 "
        "1186-1192 1280-1293 1316 1501-1502 1927-1928 1930-1935 1973-1974 1987 1989 2008 2036 2039-2040 2042-2046 2239 "
        "2382 2404-2405 3018 3123-3128"
    ),
    "518": (
        "392 475-480 482-512 514-518 633 670-671 780-784 786 1607-1624 1626-1632 1634-1640 1706-1744 1746-1752 "
        "1754-1760 1762-1767 1954-1968 1970-1997 2003-2008 2028 2046 2055-2068"
    ),
    "529": (
        "90-96 133 139 605 644-648 650-656 659 661 691-692 1340-1344 1346-1349 1357 1367-1368 1370-1376 1422-1424 1483 "
        "1824 1908-1912 1914-1920 1922 2058-2063 2075-2080 2226-2228 2248 2250-2256 2258-2264 2266-2268 2288 2290 "
        "2422-2424 2426-2432 2434-2440 2442-2444 2484 2487 2498-2503 2834-2840 3007"
    ),
    "530": (
        "554-556 720 726-728 730-736 738-744 828-832 834-840 842-848 874-880 882-888 890-896 898-901 927-928 935-936 "
        "1186-1188 1247-1248 1250 1276 1296 1356-1361 1426-1427 1802-1803 1820 2074-2080 2082-2088 2090-2096"
    ),
    "531": "109 279-287 322-325",
    "533": ("1062-1188 1232-1240 1245-1255 1257-1326 1379-1380 1403-1407 1424 1426-1427 1484-1485 1498-1500 1504-1505"),
    "540": "744 746-750",
    "547": "111-112 114-120 122-128 130-135 959 978 1050-1055",
    "548": (
        "429-432 434-440 442-448 450 582-584 586-592 594-600 602 624 626 642 804-808 898-904 906-912 914-920 922-924 "
        "1170-1207 1260-1288 1394 1488 1490"
    ),
    "551": "180-181 298-302 494 506-509 516 562-568 675-680 682-684 686-688 690 790-792",
    "553": "551-560 713 761-763 775-776 778-780 783-784 786-792 808-809 1366",
    "557": (
        "22 32-49 57 75 177 180-231 345-379 412-469 524 536 538-539 544 546 621-623 778-780 785 793 801 809 820-822 "
        "994-995 1009 1017 1036 1096-1097 1105 1156-1189 1305 1308-1357 1532-1563 1587 1593 1601 1604 1609 1614 1617 "
        "1622-1623 1625-1651 1653 1657 1671-1715"
    ),
}


def frames(ranges: str) -> set[int]:
    """The numbers that ``22 32-34`` stands for."""
    ends = [span.split("-") for span in ranges.split()]
    return {number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)}


class W300VW(PublishedVideos):
    """300VW as it is published, a folder for each video: ``001/vid.avi`` and ``001/annot/000001.pts``, ....

    The subsets are the three test scenarios. Videos that are not there are left out, so part of the set can be used:
    look at the counts of frames. Every landmark is annotated, so ``visible`` is False only outside the crop.

    Args:
        root: folder of the 114 folders.
        box: there are none from a detector: ``landmarks-1.25`` is HRNet's, around the true landmarks.
        and the rest: see `PublishedVideos`.
    """

    annotated = IBUG_68
    usual_box = "landmarks-1.25"
    subset_names = tuple(SCENARIOS)
    published: ClassVar[Mapping[str, int]] = {"train": 95_192, "test": 62_135 + 32_805 + 26_338}
    holds, prepared_as = "001, 002 and so on", "w300vw"
    unscored: ClassVar[Mapping[str, str]] = UNSCORED
    nose = 33  # its base, between the nostrils: "the 34th landmark" in the Wasserstein loss's paper

    @property
    def title(self) -> str:
        """As the papers write it."""
        return "300VW"

    def load(self, split: str) -> VideoFaces:
        """Read the labels of a split; see `Faces` and `pts_files` for what is refused."""
        files = list_files(self.root, (".pts",), self.remedy)
        videos, numbers = _names(self.root, files.name.tolist())
        points = parsed(files, partial(read_pts, num_landmarks=IBUG_68.num_landmarks))
        rows = np.array([(video in SCENARIO) == (split == "test") for video in videos])
        if not rows.any():
            raise FileNotFoundError(f"{self.root} has none of the {split} videos of 300VW; {self.remedy}")
        names, number = np.array(videos)[rows], np.array(numbers)[rows]
        _, first, place, counts = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
        length = counts[place]
        expected = np.arange(len(number)) - first[place] + 1
        for row in np.flatnonzero(number != expected):
            raise FileNotFoundError(
                f"{self.root}/{names[row]}/annot has no {expected[row]:06d}.pts, which should be before "
                f"{number[row]:06d}.pts, expected a label for every frame; get the folder again"
            )
        unscored = {video: frames(ranges) for video, ranges in self.unscored.items()}
        pairs = zip(names.tolist(), number.tolist(), strict=True)
        return VideoFaces(
            source=self.root,
            line=np.zeros(len(names), np.int64),
            image=np.array([f"{self.root}/{video}/vid.avi#{frame}" for video, frame in pairs]),
            landmarks=points[rows],
            visible=np.ones((len(names), IBUG_68.num_landmarks), bool),
            box=np.full((len(names), 4), np.nan),
            subsets=np.array([[SCENARIO.get(video) == name for name in SCENARIOS] for video in names.tolist()]),
            photograph=names,
            frame=number - 1,
            length=length,
            scored=np.array([n not in unscored.get(v, ()) for v, n in zip(names.tolist(), number, strict=True)]),
        )


class W300VWAllFrames(W300VW):
    """300VW with the 2,127 test frames that nobody scores; see `W300VW`."""

    published: ClassVar[Mapping[str, int]] = {"train": 95_192, "test": 218_597 - 95_192}
    unscored: ClassVar[Mapping[str, str]] = {}

    @property
    def title(self) -> str:
        """What is different."""
        return "300VW, all frames"


def _names(root: Path, files: list[str]) -> tuple[list[str], list[int]]:
    """Video and frame of each label file ``001/annot/000001.pts``."""
    known, videos, numbers = {*SCENARIO, *TRAIN.split()}, [], []
    for file in files:
        video, _, name = file.partition("/annot/")
        if video not in known or not (len(name) == 10 and name[:6].isdecimal()):
            raise ValueError(
                f"{root}/{file} is not a label of 300VW, expected names as {root}/001/annot/000001.pts with the number "
                "of one of its 114 videos; correct data.init_args.root or remove the file"
            )
        videos.append(video)
        numbers.append(int(name[:6]))
    return videos, numbers
