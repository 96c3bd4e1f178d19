"""What computes, told once there is something to compute."""

from typing import Any

from lightning import Callback

from callbacks.result_meaning import device_name


class Device(Callback):
    """Prints the device once nothing is refused any more; Lightning tells it above the sentence of any mistake."""

    def __init__(self) -> None:
        self.told = False

    def tell(self, trainer: Any, pl_module: Any) -> None:
        """``device: CPU``, and how it is used where that is not as usual."""
        if self.told:
            return
        self.told = True
        processes = [f"{trainer.world_size} processes"] if trainer.world_size > 1 else []
        precision = [f"precision {trainer.precision}"] if trainer.precision != "32-true" else []
        pl_module.print(", ".join([f"device: {device_name(pl_module.device)}", *processes, *precision]))

    on_fit_start = on_validation_start = on_test_start = on_predict_start = tell
