"""FlagEmbedding's data set, with draws that can be repeated."""

import random

from FlagEmbedding.abc.finetune.embedder import AbsEmbedderTrainDataset
from transformers import TrainerCallback


class TrainDataset(AbsEmbedderTrainDataset):
    """What an example draws depends on the seed, the epoch and the row alone.

    So it does not matter which process asks, or how far a loader has read ahead when a checkpoint is written.
    """

    seed = 0
    epoch = 0

    def __getitem__(self, item: int) -> tuple[str, list[str], None]:
        """Return the query with its instruction, its passages with the positive first, and no teacher's scores."""
        state = random.getstate()
        random.seed(f"{self.seed} {self.epoch} {item}")
        try:
            return super().__getitem__(item)
        finally:
            random.setstate(state)


class SetEpoch(TrainerCallback):
    """Tell the data set and the sampler the epoch; a loader that skips batches after a resume does not reach them."""

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        """Set the epoch that begins or goes on."""
        epoch = int(state.epoch or 0)
        train_dataloader.dataset.epoch = epoch
        sampler = train_dataloader.batch_sampler
        while sampler is not None:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
            sampler = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)
