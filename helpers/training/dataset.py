"""FlagEmbedding's data set and collator, with draws that can be repeated and the identities of the texts."""

import random
from collections import defaultdict
from dataclasses import dataclass

import torch
from FlagEmbedding.abc.finetune.embedder import AbsEmbedderCollator, AbsEmbedderTrainDataset
from transformers import TrainerCallback

from helpers.training.loss import text_id


class TrainDataset(AbsEmbedderTrainDataset):
    """What an example draws depends on the seed, the epoch and the row alone.

    So it does not matter which process asks, or how far a loader has read ahead when a checkpoint is written.
    """

    seed = 0
    epoch = 0

    def note_positives(self) -> None:
        """Go through the rows once and keep which passages answer which query, in whatever row it is asked."""
        self.positives: dict[int, set[int]] = defaultdict(set)  # text_id of a query -> those of its positives
        instruction, form = self.args.passage_instruction_for_retrieval, self.args.passage_instruction_format
        for query, texts in zip(self.dataset["query"], self.dataset["pos"], strict=True):
            passages = texts if instruction is None else [form.format(instruction, text) for text in texts]
            self.positives[text_id(query)].update(map(text_id, passages))
        self.widest = max(map(len, self.positives.values()))

    def __getitem__(self, item: int) -> tuple[str, list[str], list[float] | None, list[int]]:
        """Return the query, its passages with the positive first, a teacher's scores, and the ids of its positives.

        Query and passages have their instructions; the ids are `widest` numbers, -1 where there are fewer.
        """
        state = random.getstate()
        random.seed(f"{self.seed} {self.epoch} {item}")
        try:
            example = super().__getitem__(item)
        finally:
            random.setstate(state)
        ids = self.positives[text_id(self.dataset[item]["query"])]
        return *example, [*ids, *[-1] * (self.widest - len(ids))]


@dataclass
class Collator(AbsEmbedderCollator):
    """Add `passage_ids`, (passages,), and `positive_ids`, (queries, positives), to the batch."""

    def __call__(self, features: list[tuple]) -> dict[str, object]:
        """Tokenise and pad."""
        passages = [text for _, texts, *_ in features for text in texts]
        ids = {"passage_ids": [text_id(text) for text in passages], "positive_ids": [row for *_, row in features]}
        return super().__call__(features) | {name: torch.tensor(values) for name, values in ids.items()}


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
