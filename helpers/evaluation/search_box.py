"""Ask the corpus a question, and see what each model answers."""

import pandas as pd
from IPython.display import display
from ipywidgets import HTML, Text, VBox

from helpers.base import Profile, UserError
from helpers.encoding import Embedder, embedder_settings
from helpers.evaluation.tables import top_passages
from helpers.recall.index import Index, build_index, search
from helpers.sampling.eval_set import EvalSet, load_eval_set
from helpers.sampling.texts import normalise

Models = dict[str, tuple[Embedder, Index]]  # by name: a model, and an index of its vectors of the corpus


def ask(question: str, eval_set: EvalSet, models: Models) -> pd.DataFrame:
    """Return each model's best five passages, with a star at the positives if the question is an evaluation query."""
    asked = {normalise(query): query_id for query_id, query in eval_set.queries.items()}
    query_id, answers = asked.get(normalise(question), ""), {}
    for name, (embedder, index) in models.items():
        run = search(index, embedder.encode_question(question), [query_id], list(eval_set.corpus), 5)
        found = top_passages(eval_set, run, query_id)
        shown = found["gold"] + " " + found["passage"] + found["score"].map(" ({:.2f})".format)
        answers[name] = shown.str.removeprefix(" ")  # of what is no positive
    return pd.DataFrame(answers)


def answer(question: str, name: str, profile: Profile) -> str:
    """Return the best five passages of the corpus for a question, by a model: `raw`, `neg10`, ..., `reference`.

    Raises UserError: nothing is asked, there is no evaluation set, or as `embedder_settings`.
    """
    if not question.strip():
        raise UserError('Ask something, as in: python -m helpers search "how do I sort an array?".')
    eval_set, embedder = load_eval_set(profile.data_dir), Embedder(embedder_settings(profile, name), profile)
    index = build_index(embedder.encode_corpus(eval_set.corpus.values()), profile.index)
    answers = ask(question, eval_set, {name: (embedder, index)})[name]
    return "\n".join(f"{rank}  {text}" for rank, text in answers.items())


def search_box(question: str, eval_set: EvalSet, models: Models) -> None:
    """Show a box with a first question to type over, and its answer below; nothing where widgets do not live.

    Not by `interact`: to its output widget nbclient, which runs notebooks without a browser, answers on the channel on
    which it waits for the cell's end, and may then wait for ever.
    """
    box = Text(question, description="Question", continuous_update=False, layout={"width": "100%"})
    answer = HTML()

    def show(*_: object) -> None:
        answer.value = f'<div class="jp-RenderedHTMLCommon">{ask(box.value, eval_set, models).to_html()}</div>'

    show()
    box.observe(show, "value")
    display(VBox([box, answer]))
