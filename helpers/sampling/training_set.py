"""The training set on disk: one row a query, in the form that FlagEmbedding's trainer reads."""

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from helpers.base import Profile, Rows, UserError, code_of, fingerprint, make, manifest_of, whole_file
from helpers.base.profile import TRAININGS
from helpers.sampling.split import sample_negatives
from helpers.sampling.texts import are_scores, text_id


def training_rows(
    train: list[dict], pool: list[str], neg_num: int, instruction: str, seed: int, own: bool = False
) -> Iterator[dict]:
    """Yield FlagEmbedding's `query`, `pos`, `neg`, `id`, `prompt`; with `own` a pair's own negatives come first."""
    ids = [text_id(text) for text in pool]
    known = set(ids)
    given = [pair.get("negative", [])[:neg_num] if own else [] for pair in train]
    taken = (  # a query is never its own negative
        [*map(text_id, chain(pair["positive"], texts)), *known & {text_id(pair["query"])}]
        for pair, texts in zip(train, given, strict=True)
    )
    for pair, texts, places in zip(train, given, sample_negatives(taken, ids, neg_num, seed), strict=True):
        texts = texts + [pool[place] for place in places[: neg_num - len(texts)]]
        yield {"query": pair["query"], "pos": pair["positive"], "neg": texts, "id": pair["id"], "prompt": instruction}


def save_training_set(
    train: list[dict], pool: list[str], neg_num: int, profile: Profile, name: str = "", own: bool = False
) -> str:
    """Write the training set, if it is not there and made from the same; return a sentence that says what it is.

    It is that of a training `name`, by default of `neg10` for 10 negatives; with `own`, or OWN_NEGATIVES=1, those of
    the pairs come first. In that of `taught` `pos_scores` and `neg_scores` are the pairs' `scores` of these texts.
    """
    path, own = profile.training_file(name or f"neg{neg_num}"), own or profile.own_negatives

    def write() -> dict:
        rows = training_rows(train, pool, neg_num, profile.instruction, profile.negatives_seed, own)
        found = Counter[int]()  # negatives of a query -> queries
        with whole_file(path) as file:
            shown = tqdm(rows, path.name, len(train), unit="row", leave=False, delay=5)
            for pair, row in zip(train, shown, strict=True):
                if name == "taught":
                    row |= {f"{side}_scores": [pair["scores"][text] for text in row[side]] for side in ("pos", "neg")}
                found[len(row["neg"])] += 1
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return {"found": sorted(found.items())}

    made_from = {
        "queries": fingerprint(map(json.dumps, train)),
        "passages": fingerprint(pool),
        "neg_num": neg_num,
        "INSTRUCTION": profile.instruction,
        "NEGATIVES_SEED": profile.negatives_seed,
        "OWN_NEGATIVES": own,
        "code": code_of(__file__),
    }
    made = make(manifest_of(path), made_from, write, [path])
    short = {count: queries for count, queries in made["found"] if count < neg_num}
    said = f"{Path(*path.parts[-3:])}: {len(train)} queries with {neg_num} negatives each"
    note = f"; {sum(short.values())} of them have fewer than {neg_num} negatives, the fewest {min(short, default=0)}"
    return f"{said}, {path.stat().st_size / 1e6:.1f} MB{note if short else ''}"


class TrainingSet(Sequence[dict]):
    """The rows of a training set, read from the file when they are asked for; in memory are eight bytes a text."""

    def __init__(self, path: Path, instruction: str | None = None, group_size: int = 1):
        """Read the file; raises UserError: a row is not sound, has too few negatives or another instruction."""
        self.path, self.instruction, self.group_size = path, instruction, group_size
        name = path.stem.removeprefix("training_")
        self.taught = name == "taught"  # each row has the scores of a teacher
        drawn = f"01_build_train_dataset.ipynb with neg_num = {name.removeprefix('neg_')}"
        self.remedy = f"run notebooks/{f'{TRAININGS[name]}.ipynb' if name in TRAININGS else drawn} first"
        self._ids = array("q")  # of each row those of its query, its positives and its negatives
        self._places = array("q")  # of each row where they begin, and where the negatives do
        self._known: dict[int, int] = {}  # hash of a text -> its `text_id`, which takes longer
        self._rows = Rows(path, self.remedy, self._note)
        self.digest = self._rows.digest
        self._places.append(len(self._ids))
        self._known.clear()
        self._chosen: Sequence[int] = range(len(self._rows))
        self.replaced: dict[int, dict] = {}  # row of the file -> what it has otherwise than there

    def _note(self, where: str, row: dict) -> None:
        wrong, remedy, drawn = "", self.remedy, self.group_size - 1
        if field := next((field for field in ("pos", "neg") if not _are_texts(row.get(field))), ""):
            wrong = f"{field!r} is not a list of texts"
        elif not isinstance(row.get("query"), str) or not row["pos"]:
            wrong = "'query' or 'pos' is missing"
        elif len(row["neg"]) < drawn:
            wrong = f"{len(row['neg'])} negatives, but GROUP_SIZE={drawn + 1} draws {drawn} for each query"
            remedy = "lower GROUP_SIZE or build the set with more"
        elif self.instruction is not None and row.get("prompt") != self.instruction:
            wrong = f"'prompt' is {row.get('prompt')!r}, but INSTRUCTION is {self.instruction!r}"
            remedy = "set it to that, or build the training set again"
        elif self.taught and not all(are_scores(row.get(f"{side}_scores"), row[side]) for side in ("pos", "neg")):
            wrong = "'pos_scores' or 'neg_scores' is not a number for each text"
        if wrong:
            raise UserError(f"{where}: {wrong}; {remedy}.")
        self._places.extend((len(self._ids), len(self._ids) + 1 + len(row["pos"])))
        for text in (row["query"], *row["pos"], *row["neg"]):
            if (key := hash(text)) not in self._known:
                self._known[key] = text_id(text)
            self._ids.append(self._known[key])

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, row):
        """Return a row, `query`, `pos`, `neg`, `id` and `prompt`."""
        line = self._chosen[row]
        return self._rows[line] | self.replaced.get(line, {})

    def ids(self, row: int) -> tuple[int, array, array]:
        """Return the `text_id`s of a row in the file: the query's, the positives', the negatives'."""
        line = self._chosen[row]
        start, middle, end = self._places[2 * line : 2 * line + 3]
        return self._ids[start], self._ids[start + 1 : middle], self._ids[middle:end]

    def chosen(self, rows: Sequence[int], replaced: dict[int, dict]) -> "TrainingSet":
        """Return the training set of some rows of this one, with other fields for those that `replaced` has."""
        part = copy(self)
        part._chosen, part.replaced = rows, replaced
        return part


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
