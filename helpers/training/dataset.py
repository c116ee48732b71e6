"""FlagEmbedding's data set and collator, with draws that can be repeated and the identities of the texts."""

import random
from collections import defaultdict
from dataclasses import dataclass, replace

import torch
from FlagEmbedding.abc.finetune.embedder import AbsEmbedderCollator, AbsEmbedderDataArguments, AbsEmbedderTrainDataset
from transformers import TrainerCallback

from helpers.sampling import TrainingSet, text_id


class TrainDataset(AbsEmbedderTrainDataset):
    """What an example draws depends on the seed, the epoch and the row alone.

    So it does not matter which process asks, or how far a loader has read ahead when a checkpoint is written. Rows
    are read when they are drawn.
    """

    epoch = 0

    def __init__(self, rows: TrainingSet, args: AbsEmbedderDataArguments, seed: int):
        self.dataset, self.seed, self.shuffle_ratio = rows, seed, args.shuffle_ratio
        self.args = replace(args, passage_instruction_for_retrieval=None)  # put before what has been told apart
        self.instruction, self.form = args.passage_instruction_for_retrieval, args.passage_instruction_format
        self.positives: dict[int, set[int]] = defaultdict(set)  # of a query, in whatever row it is asked
        for query, positives, _ in map(rows.ids, range(len(rows))):
            self.positives[query].update((query, *positives))  # its own text, another's passage, is no negative either
        self.widest = max(map(len, self.positives.values()))

    def __getitem__(self, item: int) -> tuple[str, list[str], list[float] | None, list[int], list[int]]:
        """Return the query, its passages with the positive first, a teacher's scores, and the ids of both.

        Query and passages have their instructions; the query's ids are those of its positives, `widest` numbers, -1
        where there are fewer; its own text counts among them.
        """
        state = random.getstate()
        random.seed(f"{self.seed} {self.epoch} {item}")
        try:
            query, passages, scores = super().__getitem__(item)
        finally:
            random.setstate(state)
        answers = self.positives[self.dataset.ids(item)[0]]
        ids = list(map(text_id, passages)), [*answers, *[-1] * (self.widest - len(answers))]
        if self.instruction is not None:
            passages = [self.form.format(self.instruction, text) for text in passages]
        return query, passages, scores, *ids


@dataclass
class Collator(AbsEmbedderCollator):
    """Add `passage_ids`, (passages,), and `positive_ids`, (queries, positives), to the batch."""

    def __call__(self, features: list[tuple]) -> dict[str, object]:
        """Tokenise and pad."""
        ids = {"passage_ids": [number for *_, row, _ in features for number in row]}
        ids |= {"positive_ids": [row for *_, row in features]}
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
