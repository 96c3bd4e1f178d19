"""Lightning's messages that tell a user of this suite nothing, and would bury those that do."""

import logging
import warnings

MESSAGES = (
    "💡 Tip",  # advertisement
    "Seed set to",  # config.yaml says it
    "GPU available:",  # Device tells what is used, below the sentences of mistakes
    "TPU available",
    "LOCAL_RANK: ",
    "Using bfloat16 Automatic Mixed",
    "Using 16bit Automatic Mixed",
    "Trainer already configured with model summary",  # `ModelTable`
    "Restoring states",  # "Restored all states" follows, or a sentence
    "`weights_only` was not set",  # CheckpointFiles decides it
    "Loading `train_dataloader` to estimate",
)
WARNINGS = (
    ".*does not have many workers",  # num_workers is the config's; one core has no use for more
    ".*This DataLoader will create",  # and may have use for a second process
    ".*The number of training batches .* is smaller than the logging interval",  # `LogEachEpoch`
    ".*isinstance.treespec, LeafSpec.*",  # Lightning's own use of torch
    ".*it is recommended to use `Trainer.devices=1",  # metrics drop the samples that are repeated
    r".*self\.log\('(val|test)/\w+', \.\.\., sync_dist=True\)",  # these are of all processes' faces already
    ".*resuming from a checkpoint that ended before the epoch ended",  # samplers go on where it was
    ".*is not supported by the model summary",  # only its guess of megabytes
    r"\s*(skip_none parameter|By default only one Jsonargparse)",  # Lightning's own use of jsonargparse
    ".*`srun` command is available on your system but is not used",  # a node of a cluster may be used by hand
    ".*when using `ckpt_path`, callbacks used to create the checkpoint",  # those of training are not those of testing
)


def silence() -> None:
    """Drop those messages and warnings, and nothing else."""
    for library in ("lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(library).handlers:
            handler.addFilter(lambda record: not record.getMessage().startswith(MESSAGES))
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message)
