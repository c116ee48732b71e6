"""FlagEmbedding's trainer with whole checkpoints, a resume that restores, gradient caching and a score."""

from pathlib import Path

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import EncoderOnlyEmbedderTrainer
from transformers.trainer_utils import rotate_checkpoints

from helpers.training.checkpoints import is_whole, load_weights, mark_whole, step_of, writing
from helpers.training.grad_cache import cached_backward
from helpers.training.held_out import held_out_ndcg


class Trainer(EncoderOnlyEmbedderTrainer):
    """Its `eval_dataset` is a `HeldOut`, or None; its `args.sub_batch_size` is the chunk of gradient caching."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        """Return the loss of a batch, in which no positive of a query competes with its gold passage."""
        self._note_answers(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _note_answers(self, inputs: dict) -> None:
        ids = inputs.pop("passage_ids"), inputs.pop("positive_ids")
        if self.model.negatives_cross_device:
            ids = map(self.model._dist_gather_tensor, ids)
        self.model.cross_entropy.see(*ids)

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Go one step; with `--sub_batch_size` through chunks of the batch, of which one at a time keeps its graph."""
        if not self.args.sub_batch_size:
            return super().training_step(model, inputs, num_items_in_batch)
        self.model.train()
        inputs = self._prepare_inputs(inputs)
        self._note_answers(inputs)
        share = 1 / self.current_gradient_accumulation_steps
        loss = cached_backward(
            self.model,
            inputs["queries"],
            inputs["passages"],
            self.accelerator.autocast,
            lambda loss: self.accelerator.backward(share * loss),
        )
        if self.args.world_size > 1 and self.accelerator.sync_gradients:
            # The chunks went around the wrapper that averages gradients over processes.
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.args.world_size
        return share * loss

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Score the held-out queries in the precision of the training; every process comes to the same number."""
        collator = self.data_collator
        with self.accelerator.autocast():
            value = held_out_ndcg(
                self.model, self.processing_class, self.eval_dataset, collator.query_max_len, collator.passage_max_len
            )
        metrics = {"eval_ndcg@10": value}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save(self, output_dir=None, state_dict=None) -> None:
        if self.args.should_save:
            super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model, trial) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        with writing(folder):
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
        best = Path(self.state.best_model_checkpoint)
        score = f"{self.state.best_metric:.4f}"
        if is_whole(best):
            load_weights(self.model.model, best)
            said = f"the model is that of step {step_of(best)}: the best held-out nDCG@10, {score}"
        else:
            said = f"the model is that of the last step: the best one's, {best.name} with {score}, is gone"
        if self.args.should_save:
            print(said, flush=True)
