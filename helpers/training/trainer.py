"""FlagEmbedding's trainer with whole checkpoints, a resume that restores, gradient caching and a score."""

from pathlib import Path

import torch
from FlagEmbedding.finetune.embedder.encoder_only.base import EncoderOnlyEmbedderTrainer

from helpers.training.checkpoints import load_weights, mark_whole, step_of, writing
from helpers.training.grad_cache import cached_backward
from helpers.training.held_out import held_out_ndcg


class Trainer(EncoderOnlyEmbedderTrainer):
    """Its `eval_dataset` is a `HeldOut`, or None; its `args.sub_batch_size` is the chunk of gradient caching."""

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Go one step; with `--sub_batch_size` through chunks of the batch, of which one at a time keeps its graph."""
        if not self.args.sub_batch_size:
            return super().training_step(model, inputs, num_items_in_batch)
        self.model.train()
        inputs = self._prepare_inputs(inputs)
        loss = cached_backward(
            self.model,
            inputs["queries"],
            inputs["passages"],
            self.compute_loss_context_manager,
            self.accelerator.backward,
        )
        if self.args.world_size > 1:  # the chunks went around the wrapper that averages gradients over processes
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.args.world_size
        return loss

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Score the held-out queries; every process comes to the same number."""
        collator = self.data_collator
        with self.compute_loss_context_manager():
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
        with writing(folder):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                mark_whole(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        load_weights(self.model.model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint)
        load_weights(self.model.model, best)
        if self.args.should_save:
            score = f"{self.state.best_metric:.4f}"
            print(f"the model is that of step {step_of(best)}: the best held-out nDCG@10, {score}", flush=True)
