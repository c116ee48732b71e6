"""Ask the corpus a question, and see what each model answers."""

import pandas as pd
from ipywidgets import Text, interact

from helpers.base import ranking
from helpers.encoding.encoder import Embedder
from helpers.recall.index import Index, search
from helpers.sampling.eval_set import EvalSet
from helpers.sampling.texts import excerpt, normalise


class Corpora:
    """One corpus as several models see it: by name each model, with an index of its vectors of the corpus."""

    def __init__(self, eval_set: EvalSet, models: dict[str, tuple[Embedder, Index]]):
        self.eval_set = eval_set
        self.models = models
        self.docids = list(eval_set.corpus)
        self.asked = {normalise(query): query_id for query_id, query in eval_set.queries.items()}

    def ask(self, question: str) -> pd.DataFrame:
        """Return the best five passages of each model, side by side.

        A star marks a positive, where the question is one of the evaluation's.
        """
        gold = self.eval_set.qrels.get(self.asked.get(normalise(question), ""), {})
        columns = {}
        for name, (embedder, index) in self.models.items():
            scores = search(index, embedder.encode_question(question), ["asked"], self.docids, 5)["asked"]
            columns[name] = [
                f"{'★ ' if docid in gold else ''}{excerpt(self.eval_set.corpus[docid])} ({scores[docid]:.2f})"
                for docid in ranking(scores)
            ]
        table = pd.DataFrame.from_dict(columns, orient="index").T
        return table.set_index(pd.RangeIndex(1, len(table) + 1, name="rank"))


def search_box(corpora: Corpora, question: str) -> None:
    """Show a box with a first question to type over, and its answer below; nothing where widgets do not live."""
    box = Text(question, description="Question", continuous_update=False, layout={"width": "100%"})
    interact(corpora.ask, question=box)
