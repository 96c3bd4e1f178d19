"""Time of a forward pass with decoding, 256 px and 98 landmarks: PIPNet, its backbone, a plain build, other methods.

    python tests/benchmarks/pipnet_speed.py [--batch 1] [--threads 1] [--rounds 40] [--compiled] [--only NAME ...]

"plain build" is the released network as its description has it: float32, channels-first, five heads that make maps of
all cells, and their decoding. "folded" is what ``test``, ``predict`` and video use. "÷ backbone" is to the same form of
the backbone: as it is, folded, or compiled. CoordNet, MapNet (stride 2) and HRNet-W18 with the face head, which reads
barycentres, are folded too.
LDEQ has its default width and starts from zeros. "Repeated lists" is the released code's merge. ``--compiled`` adds
`torch.compile`, which takes minutes and a C++ compiler.

The contenders take turns; those that take a second only do so in some of the rounds. A ratio is the median of its
rounds. With one thread time is that of the processor, which other processes on the machine disturb less, else of the
clock.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning_modules.ldeq import LDEQ
from lightning_modules.pipnet import CoordNet, MapNet, PIPNet
from lightning_modules.pipnet.neighbours import RepeatedListMean, nearest
from lightning_modules.wasserstein_hrnet import HRNet
from tests.lightning_modules.pipnet.released import ReleasedNetwork

LANDMARKS, SIDE = 98, 256
ALONE = "backbone alone"
BACKBONES = {"ResNet-18": "resnet18", "MobileNetV3": "mobilenetv3_large_100"}
Contender = Callable[[Tensor], Any]


def pipnet_contenders(name: str, backbone: str, compiled: bool) -> dict[str, Contender]:
    """Everything with one backbone: alone, the plain build, and ours in its forms."""
    neighbours = nearest(torch.rand(LANDMARKS, 2), 10)

    def module(**options: Any) -> PIPNet:
        made = PIPNet(LANDMARKS, backbone, pretrained=False, **options).eval()
        made.neighbours.copy_(neighbours)
        return made

    plain, fast, lists = module(), module(), module(merge=RepeatedListMean())
    fast.fold()
    lists.fold()
    body = timm.create_model(backbone, num_classes=0)
    released = ReleasedNetwork(body.forward_features, plain.network.backbone.channels, neighbours).eval()
    body.eval()
    found: dict[str, Contender] = {
        f"{name}: plain build": released,
        f"{name}: {ALONE}": plain.network.backbone,
        f"{name}: PIPNet": plain,
        f"{name}: {ALONE}, folded": fast.detector.backbone,
        f"{name}: PIPNet, folded": fast,
        f"{name}: PIPNet, folded, repeated lists": lists,
    }
    if compiled:
        faster = module()
        faster.fold()
        faster.detector.backbone.compile()
        found[f"{name}: {ALONE}, folded, compiled"] = faster.detector.backbone
        found[f"{name}: PIPNet, folded, compiled"] = faster
    return found


def other_contenders() -> dict[str, Contender]:
    """The paper's baselines with ResNet-18, HRNet and LDEQ."""
    found: dict[str, Contender] = {}
    methods = {"ResNet-18: CoordNet": CoordNet, "ResNet-18: MapNet": MapNet, "HRNet-W18": HRNet}
    for name, method in methods.items():
        module = method(LANDMARKS, pretrained=False).eval()
        module.fold()
        found[f"{name}, folded"] = module
    return found | {"LDEQ, cold": LDEQ(LANDMARKS).eval()}


def measure(contenders: dict[str, Contender], image: Tensor, rounds: int, clock: Callable[[], float]) -> Any:
    """Seconds of each contender by round."""
    seconds: dict[str, dict[int, float]] = defaultdict(dict)
    pause = {}
    for name, contender in contenders.items():  # compiles and fills caches
        contender(image)
        begin = time.perf_counter()
        contender(image)
        pause[name] = 1 + int(time.perf_counter() - begin)  # rounds from one turn to the next
    for round_number in range(rounds):
        for name, contender in contenders.items():
            if round_number % pause[name] == 0:
                contender(image)  # brings its weights back into the caches, where they are in use
                begin = clock()
                contender(image)
                seconds[name][round_number] = clock() - begin
    return seconds


def ratio(one: dict[int, float], other: dict[int, float]) -> float:
    """The median over the rounds that both took part in."""
    return statistics.median(one[number] / other[number] for number in one.keys() & other.keys())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 1), ("threads", 1), ("rounds", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compiled", action="store_true", help="with torch.compile too")
    parser.add_argument("--only", nargs="*", default=[], help="contenders whose name has one of these words")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    contenders = {}
    for name, backbone in BACKBONES.items():
        contenders |= pipnet_contenders(name, backbone, options.compiled)
    contenders |= other_contenders()
    if options.only:
        contenders = {key: value for key, value in contenders.items() if any(word in key for word in options.only)}
    image = torch.randint(0, 256, (options.batch, 3, SIDE, SIDE), dtype=torch.uint8)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    with torch.inference_mode():
        seconds = measure(contenders, image, options.rounds, clock)
    print(f"batch {options.batch}, {options.threads} threads, {options.rounds} rounds")
    print(f"{'':42} {'ms a face':>10} {'faces/s':>8} {'÷ backbone':>11} {'x plain build':>14}")
    for name, each in seconds.items():
        a_face = statistics.median(each.values()) / options.batch
        group = name.partition(":")[0] if ":" in name else "ResNet-18"
        form = next((form for form in (", folded, compiled", ", folded") if form in name), "")
        alone = seconds.get(f"{group}: {ALONE}{form}")
        built = seconds.get(f"{group}: plain build")
        shares = [f"{ratio(each, alone):.3f}" if alone else "-", f"{ratio(built, each):.2f}" if built else "-"]
        print(f"{name:42} {1e3 * a_face:10.2f} {1 / a_face:8.1f} {shares[0]:>11} {shares[1]:>14}")


if __name__ == "__main__":
    main()
