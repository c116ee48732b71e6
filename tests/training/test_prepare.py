import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import make_rows, write_jsonl

from helpers.base.errors import UserError
from helpers.base.files import write_json
from helpers.base.fingerprint import file_fingerprint
from helpers.base.manifest import MANIFEST, read_manifest, write_manifest
from helpers.base.profile import ROOT
from helpers.encoding.models import base_model
from helpers.encoding.settings import EmbedderSettings, embedder_settings, write_embedder
from helpers.sampling.eval_set import EVAL_MANIFEST, save_eval_set
from helpers.sampling.training_set import TrainingSet
from helpers.training.folder import check_place, make_record, mark_whole, take_place
from helpers.training.prepare import activation_bytes, check_machine, hold_out, make_plan, prepare

SETTINGS = {"BASE_LAYERS": 0, "INSTRUCTION": "ask: "}


@pytest.fixture
def profile(make_profile, tiny_bert):
    """A profile with a training set for neg10."""
    profile = make_profile(BASE_MODEL=tiny_bert, **SETTINGS)
    write_jsonl(profile.training_file("neg10"), make_rows(20, 10))
    return profile


@pytest.fixture(autouse=True)
def no_flags(monkeypatch):
    """Keep the flags of whoever runs the tests out of the records."""
    monkeypatch.setattr(sys, "argv", ["finetune"])


ROW = make_rows(8, 7)[0]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (json.dumps(ROW)[:40], "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        (json.dumps(ROW | {"pos": "a passage"}), "line 2: 'pos' is not a list of texts"),
        (json.dumps(ROW | {"neg": [1, 2]}), "line 2: 'neg' is not a list of texts"),
        (json.dumps(ROW | {"neg": None}), "line 2: 'neg' is not a list of texts"),
        (json.dumps(ROW | {"query": 3}), "line 2: 'query' or 'pos' is missing"),
        (json.dumps(ROW | {"pos": []}), "line 2: 'query' or 'pos' is missing"),
        (json.dumps(ROW | {"neg": []}), "line 2: 0 negatives, but GROUP_SIZE=8 draws 7"),
        (json.dumps(ROW | {"neg": ROW["neg"][:6]}), "line 2: 6 negatives, but GROUP_SIZE=8 draws 7"),
        (json.dumps(ROW | {"prompt": "ask:"}), "line 2: 'prompt' is 'ask:', but INSTRUCTION is 'ask: '"),
    ],
)
def test_a_row_that_is_not_sound_is_named(profile, line, sentence):
    path = write_jsonl(profile.training_file("neg10"), [ROW])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=sentence) as error:
        TrainingSet(path, profile.instruction, profile.group_size)
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_files_that_are_no_training_set(profile):
    path = profile.training_file("neg10")
    for content, sentence in (
        (json.dumps(ROW | {"query": "caf\xe9"}, ensure_ascii=False).encode("latin-1"), "line 1: not text in UTF-8"),
        ((json.dumps(ROW) + "\n").encode("utf-16"), "line 1: not text in UTF-8"),
        (b"\x80\xff\xfe\x00" * 9, "line 1: not text in UTF-8"),
        (b"", "is empty"),
        (None, "No such file"),
    ):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            TrainingSet(path, profile.instruction, profile.group_size)


def test_a_model_in_the_way(profile, monkeypatch):
    folder = profile.tuned_model("neg10")
    check_place(folder)
    folder.mkdir(parents=True)
    check_place(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="FORCE=1 replaces it.$"):  # there is nothing whole to go on from
        check_place(folder)
    write_manifest(folder / "checkpoint-4" / MANIFEST, {}, [])
    with pytest.raises(UserError, match="FORCE=1 replaces it, RESUME=1 goes on with it.$"):
        check_place(folder)
    for name in ("FORCE", "RESUME"):
        monkeypatch.setenv(name, "1")
        check_place(folder)
        if name == "FORCE":
            monkeypatch.setenv(name, "")
    monkeypatch.setenv("FORCE", "1")
    with pytest.raises(UserError, match="contradict each other"):
        check_place(folder)
    monkeypatch.setenv("FORCE", "yes")
    with pytest.raises(UserError, match="FORCE='yes': it is 1 or 0"):
        check_place(folder)


def test_a_training_that_runs_is_never_touched(profile, tiny_bert, monkeypatch):
    lock = take_place(profile.tuned_model("neg10"))
    write_json(profile.tuned_model("neg10") / MANIFEST, make_record(str(tiny_bert), "", 1))  # of this very process
    monkeypatch.setenv("FORCE", "1")
    with pytest.raises(UserError, match=f"is being trained by process {os.getpid()} on "):
        check_place(profile.tuned_model("neg10"))
    lock.release()
    check_place(profile.tuned_model("neg10"))


def test_one_training_at_a_time_has_a_folder_and_force_empties_it(profile, monkeypatch):
    """Also with another base model, since the log is one; and the lock goes with a process that is killed."""
    folder, other = profile.tuned_model("neg10"), profile.model_copy(update={"base_layers": 1}).tuned_model("neg10")
    script = "import sys, pathlib; from helpers.training.folder import take_place\n"
    script += "lock = take_place(pathlib.Path(sys.argv[1])); print('taken', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(other)]
    holder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "taken\n"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("FORCE", "1")
    with pytest.raises(UserError, match="is being trained by another process"):
        take_place(folder)
    assert (folder / "config.json").exists()
    holder.kill()
    holder.communicate()
    monkeypatch.setenv("FORCE", "0")
    with pytest.raises(UserError, match="holds the model of an earlier run"):
        take_place(folder)
    monkeypatch.setenv("FORCE", "1")
    take_place(folder)
    assert not folder.exists()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_and_no_obstacle(profile, tiny_bert, monkeypatch, capsys, code):
    import fcntl

    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = profile.tuned_model("neg10")
    take_place(folder)
    assert "do not start a script twice" in capsys.readouterr().err
    monkeypatch.setenv("FORCE", "1")
    write_json(folder / MANIFEST, make_record(str(tiny_bert), "", 1))  # of this very process
    with pytest.raises(UserError, match="is being trained"):
        take_place(folder)
    assert (folder / MANIFEST).exists()


def sourced(lines, *names):
    """Return what a shell that sources the lines says, and the values that its variables then have."""
    script = lines + "".join(f"\nprintf '%s\\n' \"${{{name}[@]}}\"" for name in names)
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_script_is_told_what_it_needs(make_profile, tiny_bert):
    profile = make_profile(BASE_MODEL=tiny_bert, **SETTINGS, GRAD_CACHE=4, EVAL_STEPS=3)
    write_jsonl(profile.training_file("neg10"), make_rows(20, 10))
    audited, *values = sourced(prepare("neg10", profile), "INSTRUCTION", "MODEL", "MACHINES", "OPTIONS")
    assert audited.startswith("audit      left out: ")
    options = "--save_steps 3 --use_cpu True --sub_batch_size 4 --eval_strategy steps --eval_steps 3 "
    options += "--load_best_model_at_end True --metric_for_best_model ndcg@10 --greater_is_better True"
    assert values == ["ask: ", str(profile.tuned_model("neg10")), "--standalone", *options.split()]
    two = profile.model_copy(update={"nnodes": 2, "node_rank": 1, "grad_cache": 0, "eval_steps": 0})
    _, *values = sourced(prepare("neg10", two), "MACHINES", "OPTIONS")
    assert " ".join(values) == (
        f"--nnodes=2 --node_rank=1 --master_addr={profile.master_addr} --master_port={profile.master_port} "
        f"--save_steps {profile.save_steps} --use_cpu True"
    )


def test_a_ready_made_model_is_trained_as_its_files_say(make_profile, tiny_bert, tmp_path, monkeypatch):
    folder = tmp_path / "asks"
    folder.mkdir()
    write_embedder(tiny_bert, folder, EmbedderSettings("asks", folder, "mean", "asks: ", "says: ", 20, 99))
    profile = make_profile(READY_MADE_MODEL=folder, READY_MADE_LEARNING_RATE=3e-5, **SETTINGS)
    path = write_jsonl(profile.training_file("ready_made"), make_rows(20, 10))
    with pytest.raises(UserError, match="'prompt' is 'ask: ', but INSTRUCTION is 'asks: '"):
        prepare("ready_made", profile)
    write_jsonl(path, [row | {"prompt": "asks: "} for row in make_rows(20, 10)])
    names = ("BASE", "MODEL", "INSTRUCTION", "POOLING", "QUERY_MAX_LEN", "PASSAGE_MAX_LEN", "LEARNING_RATE", "OPTIONS")
    _, *values = sourced(prepare("ready_made", profile), *names)
    model = profile.output_dir / "asks_ready_made"
    assert values[:7] == [str(folder), str(model), "asks: ", "mean", "20", "24", "3e-05"]
    prompt = values.index("--passage_instruction_for_retrieval")
    assert values[prompt + 1 : prompt + 4] == ["says: ", "--passage_instruction_format", "{}{}"]
    monkeypatch.setenv("LEARNING_RATE", "3e-4")
    monkeypatch.setenv("READY_MADE_LEARNING_RATE", "3e-5")
    said = prepare("ready_made", profile.model_copy(update={"learning_rate": 3e-4}))
    assert "not used   LEARNING_RATE: ready_made has its own, see profiles/test.env" in said
    with pytest.raises(UserError, match="run notebooks/11_finetune_ready_made.ipynb first"):
        path.unlink()
        prepare("ready_made", profile)


@pytest.mark.parametrize("name", ["neg0", "raw", "hard ", "made", "negative", "../neg10"])
def test_what_is_no_training(make_profile, name):
    with pytest.raises(UserError, match="is no training, such as neg10, neg50, hard, ready_made, taught; raw and"):
        prepare(name, make_profile())


def test_a_resume_without_a_whole_checkpoint_is_one_sentence(profile, tiny_bert, monkeypatch):
    (profile.tuned_model("neg10") / "checkpoint-4").mkdir(parents=True)
    write_json(profile.tuned_model("neg10") / MANIFEST, make_record(str(tiny_bert), "", 1))
    monkeypatch.setenv("RESUME", "1")
    with pytest.raises(UserError, match="neg10 has no whole checkpoint to go on from; start again with FORCE=1"):
        prepare("neg10", profile)
    mark_whole(profile.tuned_model("neg10") / "checkpoint-4")
    assert sourced(prepare("neg10", profile), "OPTIONS")[-1] == str(profile.tuned_model("neg10") / "checkpoint-4")


def test_nothing_is_touched_before_the_training(profile, monkeypatch):
    folder = profile.tuned_model("neg10")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    path = profile.training_file("neg10")
    with pytest.raises(UserError):
        prepare("neg10", profile)
    monkeypatch.setenv("FORCE", "1")
    write_jsonl(path, [ROW | {"neg": []}])
    with pytest.raises(UserError):
        prepare("neg10", profile)
    write_jsonl(path, make_rows(20, 10))
    monkeypatch.setenv("EPOCHS", "2")
    assert sourced(prepare("neg10", profile))[0] == "settings   those of test, but EPOCHS=2"
    monkeypatch.setenv("CHECK", "1")
    said = sourced(f"{prepare('neg10', profile)}\necho not reached")
    assert any(line.startswith("negatives  31 a query") for line in said)
    assert said[-1].startswith("audit ")
    monkeypatch.setenv("CHECK", "0")
    prepare("neg10", profile)
    assert (folder / "config.json").exists()


def test_rows_too_few_to_score_checkpoints_train_without(make_profile, tiny_bert, monkeypatch, capsys):
    profile = make_profile(BASE_MODEL=tiny_bert, EVAL_STEPS=5, **SETTINGS)
    rows = make_rows(20, 10)
    write_jsonl(profile.training_file("neg10"), rows)
    monkeypatch.setenv("CHECK", "1")
    assert "examples   18 queries, 2 more held out to score every 5 steps" in prepare("neg10", profile)
    write_jsonl(profile.training_file("neg10"), rows[:9])
    assert "examples   9 queries\n" in prepare("neg10", profile)
    assert capsys.readouterr().out.startswith("held out   nothing: 9 training queries are too few")
    write_jsonl(profile.training_file("neg10"), make_rows(11, 10))  # each has all the others; one of them is held out
    assert "examples   11 queries\n" in prepare("neg10", profile.model_copy(update={"group_size": 11}))
    assert "nothing: 11 training queries" in capsys.readouterr().out
    monkeypatch.delenv("CHECK")
    assert "--eval_strategy" not in prepare("neg10", profile.model_copy(update={"group_size": 11}))


def test_what_is_held_out_hangs_on_the_seed_of_the_training_alone(make_profile, tmp_path):
    rows = TrainingSet(write_jsonl(tmp_path / "training_neg_10.json", make_rows(200, 10)), "ask: ")

    def held(**seeds):
        return list(hold_out(rows, make_profile(EVAL_STEPS=5, **seeds))[1])

    assert held() == held(SPLIT_SEED=1, NEGATIVES_SEED=1) != held(TRAINING_SEED=1)


def test_the_audit_is_told_before_a_training(profile):
    """It is kept beside the training set until that or the evaluation set is another."""
    rows = make_rows(20, 10)
    path, kept = write_jsonl(profile.training_file("neg10"), rows), profile.data_dir / "training_neg_10.audit.json"

    def told():
        return sourced(prepare("neg10", profile))[0], kept.stat().st_mtime_ns

    def save(positive):
        apart = [f"apart from all {i}" for i in range(9)]  # fewer than ten passages would not do
        evaluation = [
            {"id": f"e{i}", "query": f"q {i}", "positive": [text]} for i, text in enumerate([positive, *apart])
        ]
        save_eval_set(evaluation, evaluation, profile)

    save("apart from all")
    before = told()
    assert before[0].startswith("audit      sound: ")
    assert told() == before
    save(rows[0]["pos"][0])
    after = told()
    assert after[0].startswith("audit      1 of 10 evaluation positives trained on as positives")
    write_jsonl(path, rows[1:])
    assert told()[0].startswith("audit      1 of 10 evaluation positives trained on as negatives")
    assert read_manifest(kept)["made_from"].keys() >= {"training set", "evaluation set"}


def test_an_evaluation_set_that_is_not_whole_is_not_audited(profile):
    evaluation = [{"id": "e", "query": "q", "positive": ["apart from all"]}]
    save_eval_set(evaluation, evaluation, profile)
    (profile.data_dir / "corpus.jsonl").write_text('{"id": "d1", "text": "half')
    assert sourced(prepare("neg10", profile))[0].startswith("audit      left out: there is no evaluation set yet")
    save_eval_set(evaluation, evaluation, profile)
    (profile.data_dir / EVAL_MANIFEST).unlink()
    assert sourced(prepare("neg10", profile))[0].startswith("audit      left out: there is no evaluation set yet")


@pytest.mark.parametrize("layers", [1, 0])
def test_a_model_is_not_taken_for_that_of_another_base_of_the_same_name(
    make_profile, tiny_bert, certain_bert, tiny_embedder, tmp_path, monkeypatch, layers
):
    """Neither the base that was cut, nor the one that was tuned, nor its checkpoints."""
    folders = [shutil.copytree(base, tmp_path / owner / "m") for base, owner in ((tiny_bert, "a"), (certain_bert, "b"))]
    one, other = (make_profile(**SETTINGS | {"BASE_MODEL": folder, "BASE_LAYERS": layers}) for folder in folders)
    assert one.data_dir == other.data_dir
    write_jsonl(one.training_file("neg10"), make_rows(20, 10))
    for profile, folder in zip((one, other), folders, strict=True):
        config, cut = (json.loads((place / "config.json").read_text()) for place in (folder, base_model(profile)))
        assert cut["hidden_dropout_prob"] == config["hidden_dropout_prob"]
        assert cut["num_hidden_layers"] == (layers or 2)
    assert len({base_model(profile) for profile in (one, other)}) == 2
    tuned = shutil.copytree(tiny_embedder, one.tuned_model("neg10"))
    write_json(tuned / MANIFEST, make_record(str(base_model(one)), file_fingerprint(one.training_file("neg10")), 1))
    (tuned / "checkpoint-4").mkdir()
    mark_whole(tuned / "checkpoint-4")
    assert embedder_settings(one, "neg10").folder == tuned
    with pytest.raises(UserError, match="There is no finished model in .*/m-[0-9a-f]{6}(-first1)?_neg10; run bash"):
        embedder_settings(other, "neg10")
    with pytest.raises(UserError, match="holds the model of an earlier run"):
        prepare("neg10", one)
    assert sourced(prepare("neg10", other), "MODEL")[-1] == str(other.tuned_model("neg10"))
    monkeypatch.setenv("RESUME", "1")
    assert "--resume_from_checkpoint" in prepare("neg10", one)
    assert "--resume_from_checkpoint" not in prepare("neg10", other)
    assert not other.tuned_model("neg10").exists()


def test_the_machine_has_what_is_asked_for(make_profile, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_machine(make_profile()) == ("fp32", "the CPU")
    assert check_machine(make_profile(PRECISION="fp16")) == ("fp32", "the CPU")
    assert check_machine(make_profile(PRECISION="bf16")) == ("bf16", "the CPU")
    with pytest.raises(UserError, match="NODE_RANK=2: with NNODES=2 it is below 2"):
        check_machine(make_profile(NNODES=2, NODE_RANK=2))
    with pytest.raises(UserError, match="CROSS_DEVICE_NEGATIVES=1 needs several processes"):
        check_machine(make_profile(CROSS_DEVICE_NEGATIVES=1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert check_machine(make_profile(PRECISION="fp16")) == ("fp16", "Card")
    with pytest.raises(UserError, match="PRECISION=bf16: Card does not have it; set PRECISION=fp16"):
        check_machine(make_profile(PRECISION="bf16"))
    with pytest.raises(UserError, match="NPROC=2: this machine has 1 CUDA cards"):
        check_machine(make_profile(NPROC=2))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"examples": 90, "steps": 23, "batch": 4, "negatives": 31}),
        ({"EPOCHS": 2, "BATCH_SIZE": 8}, {"steps": 24, "negatives": 63}),
        ({"NPROC": 2}, {"steps": 12, "batch": 8, "negatives": 31}),
        ({"NPROC": 2, "NNODES": 2, "CROSS_DEVICE_NEGATIVES": 1}, {"steps": 6, "batch": 16, "negatives": 127}),
        ({"EPOCHS": 0.5}, {"examples": 90, "held_out": 7, "steps": 12}),
    ],
)
def test_the_plan(make_profile, tiny_bert, settings, expected):
    profile = make_profile(BASE_MODEL=tiny_bert, **SETTINGS, **settings)
    plan = make_plan(make_rows(90, 10), 7, profile, half=False)
    assert {name: getattr(plan, name) for name in expected} == expected


def test_a_length_beyond_the_models_positions_is_told_before_a_training(profile, monkeypatch):
    for check in ("1", "0"):
        monkeypatch.setenv("CHECK", check)
        with pytest.raises(UserError, match="PASSAGE_MAX_LEN=65: tiny-bert.* has positions for 64 tokens; set at most"):
            prepare("neg10", profile.model_copy(update={"passage_max_len": 65}))


def test_tokens_and_memory_by_hand(make_profile, tiny_bert):
    from transformers import AutoModel, AutoTokenizer

    profile = make_profile(BASE_MODEL=tiny_bert, **SETTINGS, QUERY_MAX_LEN=5)
    rows = make_rows(30, 10)
    plan = make_plan(rows, 0, profile, half=False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    lengths = [len(tokenizer(text)["input_ids"]) for row in rows for text in (row["pos"][0], row["neg"][0])]
    assert plan.query_tokens == 5
    assert plan.passage_tokens == pytest.approx(sum(lengths) / len(lengths))
    assert plan.tokens == pytest.approx(30 * (5 + 8 * plan.passage_tokens), abs=1)
    parameters = sum(p.numel() for p in AutoModel.from_pretrained(tiny_bert).parameters())
    assert plan.parameters == parameters
    assert make_plan(rows, 0, profile.model_copy(update={"base_layers": 1}), half=False).parameters < parameters
    # two layers x texts x tokens x hidden x (34 + 5 heads tokens / hidden) bytes, doubled for float32
    longest = max(lengths)
    kept = 2 * 2 * 32 * (4 * 5 * (34 + 5 * 2 * 5 / 32) + 32 * longest * (34 + 5 * 2 * longest / 32))
    assert plan.memory == pytest.approx(16 * parameters + kept, rel=1e-6)
    cached = make_plan(rows, 0, profile.model_copy(update={"grad_cache": 4}), half=False)
    assert cached.memory - 16 * parameters == pytest.approx((plan.memory - 16 * parameters) / 8, rel=0.1)


def test_activations_are_those_that_autograd_keeps():
    """The formula counts an attention matrix that today's kernels need not keep, so it may be above, but not far."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256
    )
    kept = {}
    ids = torch.randint(50, (8, 32))
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.setdefault(tensor.untyped_storage().data_ptr(), tensor), lambda tensor: tensor
    ):
        output = BertModel(config)(ids).last_hidden_state
    weights = 4 * sum(parameter.numel() for parameter in BertModel(config).parameters())
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) - weights
    assert output.requires_grad
    assert 0.5 < size / activation_bytes(8, 32, config, half=False) < 1.2


def test_a_small_disk_is_noticed(profile):
    """A real file system of 1 MB, where mounts are allowed."""
    profile.output_dir.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(profile.output_dir)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounts are not allowed here")
    try:
        with pytest.raises(UserError, match="GB free, but the training writes about .* GB; free some space"):
            prepare("neg10", profile)
    finally:
        subprocess.run(["umount", str(profile.output_dir)], check=True)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("matryoshka", "16,8", "MATRYOSHKA=16,8: vectors have 32 numbers; begin with that, then give ever smaller"),
        ("matryoshka", "32,8,16", "MATRYOSHKA=32,8,16: vectors have 32 numbers"),
        ("matryoshka", "32,8,0", "MATRYOSHKA=32,8,0: vectors have 32 numbers"),
        ("frozen_layers", 2, "FROZEN_LAYERS=2: the model has 2 layers; leave at least one"),
    ],
)
def test_parts_that_the_model_does_not_have(profile, key, value, sentence):
    with pytest.raises(UserError, match=sentence):
        prepare("neg10", profile.model_copy(update={key: value}))


def test_passages_of_other_queries_alone_may_compete(profile, monkeypatch):
    monkeypatch.setenv("CHECK", "1")
    alone = profile.model_copy(update={"group_size": 1})
    assert "negatives  3 a query: 1 passages x 4 queries" in prepare("neg10", alone)
    with pytest.raises(UserError, match="GROUP_SIZE=1, BATCH_SIZE=1: nothing competes"):
        prepare("neg10", alone.model_copy(update={"batch_size": 1}))


def test_a_matryoshka_is_numbers(make_profile):
    with pytest.raises(UserError, match="MATRYOSHKA='384;96': give numbers with commas between them"):
        make_profile(MATRYOSHKA="384;96")


def test_flags_that_not_every_training_has(make_profile, tiny_bert):
    profile = make_profile(BASE_MODEL=tiny_bert, MATRYOSHKA="32,8", FROZEN_LAYERS=1, **SETTINGS)
    scores = {"pos_scores": [1.0], "neg_scores": [0.5] * 10}
    write_jsonl(profile.training_file("taught"), [row | scores for row in make_rows(20, 10)])
    write_jsonl(profile.training_file("hard"), make_rows(20, 10))
    taught = prepare("taught", profile)
    assert "--frozen_layers 1 --use_mrl True --mrl_dims 32 8 --knowledge_distillation True" in taught
    assert "--knowledge_distillation" not in prepare("hard", profile)
