"""FlagEmbedding's data set and trainer, with draws that repeat, whole checkpoints, a resume that restores, a score."""

import random
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from FlagEmbedding.abc.finetune.embedder import AbsEmbedderCollator, AbsEmbedderDataArguments, AbsEmbedderTrainDataset
from FlagEmbedding.finetune.embedder.encoder_only.base import BiEncoderOnlyEmbedderModel, EncoderOnlyEmbedderTrainer
from safetensors.torch import load_file
from transformers import BatchEncoding, TrainerCallback, TrainerControl
from transformers.trainer_utils import rotate_checkpoints

from helpers.base import UserError, writing
from helpers.encoding.encoder import encode_texts
from helpers.evaluation import average, score_queries
from helpers.sampling import EvalSet, TrainingSet, text_id
from helpers.training.folder import REMEDY, is_whole, mark_whole

TOKENS = 8192  # encoded at a time to score, at most


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
        *_, passages, positives = zip(*features, strict=True)
        ids = {"passage_ids": torch.tensor(passages).flatten(), "positive_ids": torch.tensor(positives)}
        return super().__call__(features) | ids


class SetEpoch(TrainerCallback):
    """Tell the data set and the sampler the epoch; a loader that skips batches after a resume does not reach them."""

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        """Set the epoch that begins or goes on."""
        train_dataloader.dataset.epoch = int(state.epoch or 0)
        train_dataloader.set_epoch(train_dataloader.dataset.epoch)


class Trainer(EncoderOnlyEmbedderTrainer):
    """Its `eval_dataset` is an `EvalSet`, or None."""

    control: TrainerControl

    def _prepare_inputs(self, inputs: dict) -> dict:
        inputs = super()._prepare_inputs(inputs)
        ids = [inputs.pop("passage_ids"), inputs.pop("positive_ids")]
        if self.model.negatives_cross_device:
            ids = [self.model._dist_gather_tensor(part) for part in ids]
        self.model.cross_entropy.see(*ids)  # so that no positive of a query competes with its gold passage
        return inputs

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Score the held-out queries in the precision of the training; every process comes to the same number."""
        with self.accelerator.autocast():
            metrics = {"eval_ndcg@10": held_out_ndcg(self.model, self.data_collator, self.eval_dataset)}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir=None, state_dict=None) -> None:
        if self.args.should_save:
            super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model, trial) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        with writing(folder, REMEDY):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            self.args.save_total_limit = limit
            if self.args.should_save:
                mark_whole(folder)  # before older ones go, or a kill in between would leave none that is marked
                best = self.state.best_model_checkpoint
                rotate_checkpoints(str(folder.parent), limit, best_model_checkpoint=best, use_mtime=True)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        load_weights(self.model.model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        best, score = Path(self.state.best_model_checkpoint), f"{self.state.best_metric:.4f}"
        said = f"the model is that of the last step: the best one's, {best.name} with {score}, is gone"
        if is_whole(best):
            load_weights(self.model.model, best)
            said = f"the model is that of step {best.name.partition('-')[2]}: the best held-out nDCG@10, {score}"
        if self.args.should_save:
            print(said, flush=True)


def load_weights(encoder: torch.nn.Module, checkpoint: Path) -> None:
    """Put a checkpoint's weights into the encoder, whose names they have: FlagEmbedding saves it without its wrapper.

    Raises UserError: a weight is missing, is not the encoder's, or has another shape.
    """
    try:
        encoder.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=True)
    except RuntimeError as error:
        why = " ".join(line.strip() for line in str(error).splitlines()[1:])
        raise UserError(f"{checkpoint} is not a checkpoint of this model: {why} Start again with FORCE=1.") from error


def held_out_ndcg(model: BiEncoderOnlyEmbedderModel, collator: Collator, held_out: EvalSet) -> float:
    """Return the mean nDCG@10 of the held-out queries; dropout is off meanwhile, and no random number is drawn."""
    device, training, tokenizer = next(model.parameters()).device, model.training, collator.tokenizer

    def forward(inputs: BatchEncoding) -> torch.Tensor:
        vectors = model.encode([inputs.to(device)])
        return vectors[0] if model.use_mrl else vectors  # of a Matryoshka the whole ones come first

    model.eval()
    with torch.no_grad():
        passages, _ = encode_texts(list(held_out.corpus.values()), collator.passage_max_len, tokenizer, forward, TOKENS)
        queries, _ = encode_texts(list(held_out.queries.values()), collator.query_max_len, tokenizer, forward, TOKENS)
    model.train(training)
    # Not by FAISS, which would take its own memory on every card beside the training's.
    scores = (queries @ passages.T).tolist()  # (queries, passages)
    run = {q: dict(zip(held_out.corpus, row, strict=True)) for q, row in zip(held_out.queries, scores, strict=True)}
    return average(score_queries(held_out.qrels, run))["ndcg@10"]
