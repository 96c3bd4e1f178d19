"""How much a training step computes: exact where its time is not, and the same on any device."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Operations:
    """Counts a step's floating-point operations, by torch's formulas, and the operations that a device is given.

    The optimiser's are left out: on a GPU it takes all weights at once, elsewhere one after the other.
    """

    def __init__(self) -> None:
        self.mode: Any = Counting()  # type: ignore[no-untyped-call]

    def begin(self, batch: dict[str, Any]) -> None:
        """Look on."""
        self.mode.__enter__()

    def look_away(self) -> None:
        """The backward pass is through."""
        self.mode.__exit__(None, None, None)

    def end(self) -> None:
        """The optimiser has made the step."""


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What `Operations` counts, while it is entered.

    torch's own `FlopCounterMode` attributes operations to modules by hooks, which do not bear a gradient that is taken
    within a backward pass, as LDEQ's is.
    """

    flops = 0  # multiplications and additions of convolutions and matrix products, forward and backward
    count = 0  # of all operations but views

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += not func.is_view
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result
