"""FlagEmbedding's trainer, as the scripts start it: `torchrun ... -m helpers.training.finetune FLAGS`.

The flags, the model, the data set and the loss are those of `FlagEmbedding.finetune.embedder.encoder_only.base`, and
where nothing is left to chance so are the weights; on a CPU batches go without their padding.
`--resume_from_checkpoint` restores what a checkpoint has, `--sub_batch_size` caches gradients, `--eval_strategy steps`
scores held-out training queries, the log is for people, and the finished model is one that sentence-transformers loads.
"""

import logging
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import torch
import transformers
from FlagEmbedding.finetune.embedder.encoder_only import base
from transformers import AutoTokenizer, HfArgumentParser, PreTrainedTokenizerBase, PrinterCallback

from helpers.base import MANIFEST, UserError, load_profile, run_command, write_json, writing
from helpers.encoding.models import loading
from helpers.encoding.settings import LAST, EmbedderSettings, write_embedder
from helpers.sampling import TrainingSet
from helpers.training.curve import Progress
from helpers.training.folder import GO_ON, REMEDY, check_same, keep_alive, make_record, remove_broken, take_place
from helpers.training.held_out import build_held_out, split_held_out
from helpers.training.loss import MaskedLoss, cache_gradients
from helpers.training.packing import pack
from helpers.training.publish import write_card
from helpers.training.trainer import Collator, SetEpoch, TrainDataset, Trainer

STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Arguments(base.EncoderOnlyEmbedderTrainingArguments):
    """FlagEmbedding's, and one more."""

    frozen_layers: int = field(default=0, metadata={"help": "The embeddings and the lowest n layers stay as they are."})


class Runner(base.EncoderOnlyEmbedderRunner):
    """FlagEmbedding's runner with this project's data set and trainer."""

    held_out = None
    lock = None  # of the model's folder, held by the first process to the end

    def load_tokenizer_and_model(self) -> tuple[PreTrainedTokenizerBase, base.BiEncoderOnlyEmbedderModel]:
        """Load the tokenizer, and the model in float32, whatever it is stored in; precision is autocast's."""
        with loading(Path(self.model_args.model_name_or_path)):
            tokenizer, model = super().load_tokenizer_and_model()
        args = self.training_args
        if args.device.type == "cpu":  # what it brings on a card has not been measured
            pack(model.model)
        model.cross_entropy = MaskedLoss(args.world_size if args.negatives_cross_device else 1)
        if args.sub_batch_size:
            cache_gradients(model)
        if args.frozen_layers:
            layers = next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList))
            for part in (model.model.embeddings, *layers[: args.frozen_layers]):
                part.requires_grad_(False)
        return tokenizer, model.float()

    def load_train_dataset(self) -> TrainDataset:
        """Load the rows, less those held out if the training is scored on the way."""
        args, seed = self.data_args, self.training_args.seed
        if len(args.train_data) != 1:
            raise UserError(f"--train_data {' '.join(args.train_data)}: give one file.")
        self.instructions = args.query_instruction_for_retrieval or "", args.passage_instruction_for_retrieval or ""
        rows = TrainingSet(Path(args.train_data[0]))
        if self.training_args.eval_strategy != "no":
            rows, held = split_held_out(rows, seed)
            self.held_out = build_held_out(rows, held, *self.instructions)
        return TrainDataset(rows, args, seed)

    def load_data_collator(self) -> Collator:
        """Build FlagEmbedding's collator, which then also tells what answers what."""
        return Collator(**vars(super().load_data_collator()))

    def load_trainer(self) -> Trainer:
        """Build the trainer, with lines for people in the place of printed dictionaries."""
        data = self.data_collator, self.train_dataset, self.held_out
        how = {"processing_class": self.tokenizer, "callbacks": [SetEpoch(), Progress()]}
        trainer = Trainer(self.model, self.training_args, *data, **how)
        trainer.remove_callback(PrinterCallback)
        return trainer

    def run(self) -> None:
        """Train, from the start or from a checkpoint, and write the model; of several processes the first writes."""
        args, profile = self.training_args, load_profile()  # read before it may be edited
        folder, checkpoint = Path(args.output_dir), args.resume_from_checkpoint
        if args.should_save:
            self.lock = take_place(folder)
            record = make_record(self.model_args.model_name_or_path, self.train_dataset.dataset.digest, args.world_size)
            if checkpoint:
                check_same(folder, record)
            (folder / LAST).unlink(missing_ok=True)  # until it has ended, a model that goes on is not whole
            remove_broken(folder)
            write_json(folder / MANIFEST, record)
            keep_alive(folder)
        if args.local_process_index == 0:  # of each machine; with this line `keep_log` begins or goes on with a file
            began = f"goes on from {Path(checkpoint).name}" if checkpoint else "begins"
            print(f"{began}, in process {os.getpid()}", flush=True)
        self.trainer.train(resume_from_checkpoint=checkpoint)
        if args.should_save:
            with writing(folder, REMEDY), tempfile.TemporaryDirectory(prefix=".plain-", dir=folder) as plain:
                self.trainer._save(plain)
                AutoTokenizer.from_pretrained(self.model_args.model_name_or_path).save_pretrained(plain)  # as it began
                if folder.parent == profile.output_dir:  # else the profile is not that of this training
                    write_card(folder, profile, vars(self.model_args) | vars(self.data_args) | vars(args))
                fed = *self.instructions, self.data_args.query_max_len, self.data_args.passage_max_len
                settings = EmbedderSettings(folder.name, folder, args.sentence_pooling_method, *fed)
                write_embedder(Path(plain), folder, settings)
            print(f"finished: {folder}", flush=True)
        self.trainer.accelerator.wait_for_everyone()  # who leaves while another writes breaks its connections


def quiet() -> None:
    """Keep the libraries' settings, bars and hints out of the log."""
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("FlagEmbedding").setLevel(logging.ERROR)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")


def stop(number: int, frame: object) -> None:
    """End with a sentence when torchrun or a person asks for it."""
    raise UserError(f"The training was stopped by {signal.Signals(number).name}; {GO_ON}.")


def main() -> Runner:
    """Train with the flags of the command line; return what did it."""
    for number in STOPS:
        signal.signal(number, stop)
    quiet()
    kinds = base.EncoderOnlyEmbedderModelArguments, base.EncoderOnlyEmbedderDataArguments, Arguments
    model_args, data_args, training_args = HfArgumentParser(kinds).parse_args_into_dataclasses()
    training_args.log_level = "error"  # the trainer would turn the libraries' voices up again
    try:
        runner = Runner(model_args, data_args, training_args)
        runner.run()
    except RuntimeError as error:
        if training_args.world_size > 1 and any(word in str(error) for word in ("Connection", "gloo", "NCCL")):
            raise UserError(f"Another process of this training has ended; {GO_ON}.") from error
        raise
    finally:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)  # it is leaving already, and has said why
    return runner


def leave(main: Callable[[], object]) -> NoReturn:
    """Call `main` as `run_command` does and end the process at once, with nothing taken down.

    Whatever frees the process group, its owner's end or the interpreter's, joins gloo's threads while it holds
    Python's lock, for which such a thread may be waiting for ever. So what `main` returns, or the frames of what it
    raises, are held to the end.
    """
    try:
        held = run_command(main)  # noqa: F841
    finally:
        error, status = sys.exception(), 0
        if isinstance(error, SystemExit):
            status = int(error.code or 0)
        elif error:
            traceback.print_exception(error)
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    leave(main)
