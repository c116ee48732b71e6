"""The time of a training's step beside FlagEmbedding's plain trainer, and what it goes into."""

import shutil
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
import transformers
from FlagEmbedding.abc.finetune.embedder import AbsEmbedderTrainDataset
from FlagEmbedding.finetune.embedder.encoder_only import base
from torch.autograd.profiler import profile as record
from transformers import AutoModel

from helpers.base import Profile, UserError, read_json, timed, write_json
from helpers.encoding import base_model, training_profile
from helpers.encoding.encoder import computes_in
from helpers.sampling import TrainingSet
from helpers.training.curve import Progress
from helpers.training.finetune import Arguments, Runner, quiet

ROUNDS, PROFILED = 3, 5
KINDS = {  # of operations, by how their names begin; the first that fits
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::_scaled_dot_product_flash_attention_for_cpu"),
    "activations, norms, softmax": ("aten::gelu", "aten::native_layer_norm", "aten::_softmax", "aten::_safe_softmax"),
    "dropout's draws": ("aten::bernoulli_", "aten::random_", "aten::ge"),
    "zeros, sums, copies": ("aten::fill_", "aten::zero_", "aten::add", "aten::sum", "aten::mul", "aten::copy_"),
    "optimiser": ("aten::_fused_adamw_", "aten::linalg_vector_norm", "Optimizer."),
}


class Plain(base.EncoderOnlyEmbedderRunner):
    """FlagEmbedding's, with rows read as ours are: its reader leaves a copy of them, and takes a path for a pattern."""

    def load_train_dataset(self) -> AbsEmbedderTrainDataset:
        """Build its data set over our rows."""
        data = AbsEmbedderTrainDataset.__new__(AbsEmbedderTrainDataset)
        data.args, data.shuffle_ratio = self.data_args, self.data_args.shuffle_ratio
        data.dataset = TrainingSet(Path(self.data_args.train_data[0]))
        return data


class Unpacked(Runner):
    """Ours before `pack`."""

    def load_tokenizer_and_model(self) -> tuple:
        """Load both, and a plain encoder in the place of the packed one."""
        tokenizer, model = super().load_tokenizer_and_model()
        model.model = AutoModel.from_pretrained(self.model_args.model_name_or_path).float().train()
        return tokenizer, model


WAYS: dict[str, type[base.EncoderOnlyEmbedderRunner]]
WAYS = {"FlagEmbedding's trainer": Plain, "ours, unpacked": Unpacked, "ours": Runner}


def make_trainer(way: str, name: str, profile: Profile, folder: Path, steps: int) -> transformers.Trainer:
    """Return the trainer of one of `WAYS`, of so many steps on the rows of `name`; `folder` has the base model."""
    precision = computes_in(profile.precision)
    model = base.EncoderOnlyEmbedderModelArguments(str(folder))
    data = base.EncoderOnlyEmbedderDataArguments(
        train_data=[str(profile.training_file(name))],
        train_group_size=profile.group_size,
        query_max_len=profile.query_max_len,
        passage_max_len=profile.passage_max_len,
        pad_to_multiple_of=8,
        query_instruction_for_retrieval=profile.instruction,
        knowledge_distillation=TrainingSet(profile.training_file(name)).taught,
    )
    training = Arguments(
        output_dir=str(folder / "trained"),
        max_steps=steps,
        per_device_train_batch_size=profile.batch_size,
        learning_rate=profile.learning_rate,
        warmup_steps=profile.warmup,
        temperature=profile.temperature,
        sentence_pooling_method=profile.pooling,
        seed=profile.training_seed,
        use_cpu=True,
        bf16=precision == "bf16",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )
    trainer = WAYS[way](model, data, training).trainer
    for callback in (transformers.PrinterCallback, Progress):
        trainer.remove_callback(callback)
    return trainer


def spent(trainer: transformers.Trainer) -> dict[str, float]:
    """Train, and return the milliseconds a step that operations of each of `KINDS`, and all others, take themselves."""
    with record(use_kineto=False) as found:
        trainer.train()
    times: dict[str, float] = defaultdict(float)
    for event in found.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key.startswith(names)), "all else")
        times[kind] += event.self_cpu_time_total / 1000 / PROFILED
    return times


def step(name: str, profile: Profile, steps: int) -> None:
    """Train some steps in turns by each way; print seconds a step, losses, and where the time goes.

    Raises UserError: there is no training set, the base is out of reach, or the profile asks for what is not measured.
    """
    if torch.cuda.is_available():
        raise UserError("This measures a CPU; python -m helpers benchmark card measures a card.")
    quiet()
    profile = training_profile(profile, name)
    for key in ("grad_cache", "frozen_layers", "matryoshka", "passage_instruction", "cross_device_negatives"):
        if getattr(profile, key):
            raise UserError(f"{key.upper()} is not measured; leave it out, and take neg10 or another plain training.")
    with TemporaryDirectory() as path:
        folder, sure = Path(path) / "base", Path(path) / "sure"
        for copy in (folder, sure):
            shutil.copytree(base_model(profile), copy)
        rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        write_json(sure / "config.json", read_json(sure / "config.json") | rates)
        seconds = defaultdict(list)
        for first in range(ROUNDS):  # each way once begins
            for way in [*WAYS, *WAYS][first : first + len(WAYS)]:
                trainer = make_trainer(way, name, profile, folder, steps)
                seconds[way].append(timed(trainer.train)[1] / steps)
        print(f"{name} of {profile.name}, {steps} steps, {ROUNDS} rounds in turns, {torch.get_num_threads()} threads")
        for way, times in seconds.items():
            ratio = median(times) / median(seconds["FlagEmbedding's trainer"])
            print(f"{way:24} {median(times):6.3f} s a step   x{ratio:.2f} of FlagEmbedding's time")
        losses = []
        for way in ("ours, unpacked", "ours"):
            trainer = make_trainer(way, name, profile, sure, steps)
            trainer.train()
            losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
        print(f"without dropout, the loss of a step differs by {apart:.1e} at most, packed from unpacked")
        tables = {way: spent(make_trainer(way, name, profile, folder, PROFILED)) for way in WAYS}
        print(f"\n{'milliseconds a step':28}" + "".join(f"{way:>26}" for way in tables))
        for kind in (*KINDS, "all else"):
            print(f"{kind:28}" + "".join(f"{times[kind]:26.0f}" for times in tables.values()))
