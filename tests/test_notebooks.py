"""What holds for the notebooks as they are stored; test_series.py runs them."""

import base64
import json
import re

import nbformat
import pytest
from conftest import table_of

from helpers.base.errors import UserError
from helpers.base.profile import ROOT
from helpers.benchmarks.recipes import RECIPES, table
from helpers.notebook import NOTEBOOKS, run_notebook

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
COMPARISON = NOTEBOOKS / "07_compare_models.ipynb"
EVALUATIONS = [path for path in PATHS if "_eval_" in path.name and "build" not in path.name]


def read(path):
    return nbformat.read(path, as_version=4).cells


def code_cells(path, without=()):
    cells = [cell for cell in read(path) if cell.cell_type == "code"]
    return [cell for cell in cells if not set(without) & set(cell.metadata.get("tags", []))]


def test_the_series_is_complete():
    assert [path.stem for path in PATHS] == [
        "01_build_train_dataset",
        "02_build_eval_dataset",
        "03_eval_raw_bert",
        "04_eval_neg10",
        "05_eval_neg50",
        "06_eval_bge_m3",
        "07_compare_models",
        "08_contrastive_loss",
        "09_your_own_pairs",
        "10_mine_hard_negatives",
        "11_finetune_ready_made",
        "12_teach_from_scores",
        "13_put_it_to_work",
    ]


@pytest.mark.parametrize("wrong", ["nam=neg25", "name"])
def test_a_parameter_that_a_notebook_does_not_have(make_profile, wrong):
    with pytest.raises(UserError, match=f"04_eval_neg10 takes no '{wrong}'; write name=value with one of name, "):
        run_notebook("04_eval_neg10", [wrong], make_profile())


@pytest.mark.parametrize("value", ["", "abc", "²"])
@pytest.mark.parametrize(
    ("name", "known"), [("01_build_train_dataset", "neg_num=10"), ("08_contrastive_loss", "temperature=0.02")]
)
def test_a_number_that_is_none(make_profile, name, known, value):
    key = known.partition("=")[0]
    with pytest.raises(UserError, match=f"takes a number for {key}, as in {known}, and not {key}={value}"):
        run_notebook(name, [f"{key}={value}"], make_profile())


@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: path.stem)
def test_evaluations_run_the_same_code(path):
    cells = [[cell.source for cell in code_cells(p, {"parameters", "inline"})] for p in (EVALUATIONS[0], path)]
    assert cells[0] == cells[1]


def test_evaluations_differ_in_their_name():
    names = [code_cells(path)[1 + (path == EVALUATIONS[0])] for path in EVALUATIONS]
    assert all(cell.metadata.tags == ["parameters"] for cell in names)
    assert [re.match(r'name = "(\w+)"', cell.source)[1] for cell in names] == ["raw", "neg10", "neg50", "reference"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_two_exercises_end_a_notebook_with_their_answers_folded_away(path):
    last = read(path)[-1].source
    assert last.startswith("## Exercises\n\n**1.** ")
    assert last.count("<summary>Answer</summary>") == last.count("</details>") == 2


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_stored_outputs(path):
    assert path.stat().st_size < 250_000
    cells = code_cells(path)
    assert any(cell.outputs for cell in cells) and len(cells) <= 20
    for cell in cells:
        assert cell.execution_count is None
        assert len(cell.source.splitlines()) <= 15
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
    content = path.read_text(encoding="utf8")
    assert str(ROOT) not in content
    assert not re.search(r"/home/|/Users/|/tmp/|site-packages|\d+%\|", content)


def stored_results():
    """Model -> measure -> value, from the table at the end of notebook 06."""
    header, *rows = table_of(read(EVALUATIONS[-1]), "results_table")
    return {name: dict(zip(header, map(float, values), strict=True)) for name, *values in rows}


def test_the_stored_tables_are_of_one_run():
    """Each evaluation's own table, the table of 06, the intervals of 07 and its pairs all say the same."""
    results = stored_results()
    for path, name in zip(EVALUATIONS, results, strict=True):
        rows = {words[0]: words[1:] for words in table_of(read(path), "metrics_table")}
        columns = rows["measure"]
        for measure, value in results[name].items():
            column, k = measure.split("@")
            assert float(rows[k][columns.index(column)]) == pytest.approx(value, abs=1e-4), (name, measure)
    means = compared_means()
    for name, measures in results.items():
        assert means[name] == pytest.approx(list(measures.values()), abs=6e-4)
    pairs = {
        " ".join(words[:3]): float(words[3]) for words in table_of(read(COMPARISON), "pairs_table") if "±" in words[3:5]
    }
    assert len(pairs) == len(means) * (len(means) - 1) / 2
    for pair, difference in pairs.items():
        b, a = (means[name][-1] for name in pair.split(" - "))  # nDCG@10 comes last
        assert difference == pytest.approx(b - a, abs=1.1e-3)


def test_the_demo_holds_what_it_promises():
    results = stored_results()
    assert list(results) == ["raw", "neg10", "neg50", "reference"]
    for name in ("neg10", "neg50"):
        assert results[name]["ndcg@10"] > 4 * results["raw"]["ndcg@10"]
        assert results[name]["recall@10"] > 0.6


def compared_means(path=COMPARISON):
    """Model -> the means of a table with intervals, which is printed in two parts, one below the other."""
    means = {}
    for name, *words in table_of(read(path), "intervals_table(results)"):
        if "@" not in name:
            means.setdefault(name, []).extend(float(word) for word in words if word[0] != "[" and word[-1] != "]")
    return means


def test_the_readme_repeats_the_stored_results():
    readme = (ROOT / "README.md").read_text()
    names = "BM25|raw|neg10|neg50|hard|taught|reference|ready_made"
    rows = re.findall(rf"^\| ({names}): .+? \| ([\d. |]+) \| (\[.+\]) \|$", readme, re.M)
    story = NOTEBOOKS / "12_teach_from_scores.ipynb"
    means, printed = compared_means(story), str(read(story))
    assert [name.lower() for name, *_ in rows] == list(means)
    for (_, values, interval), (hit, recall, _, mrr, ndcg) in zip(rows, means.values(), strict=True):
        assert [float(value) for value in values.split(" | ")] == pytest.approx([hit, recall, mrr, ndcg], abs=0.0011)
        assert f"{ndcg:.3f} {interval}" in printed
    [picture] = [o.data["image/png"] for cell in read(story) if "plot_means(" in cell.source for o in cell.outputs]
    assert base64.b64decode(picture) == (ROOT / "docs" / "models.png").read_bytes()
    pairs = [words for words in table_of(read(COMPARISON), "pairs_table") if "±" in words[3:5]]
    known = [(abs(float(words[3])), float(words[5])) for words in pairs]
    gains = table_of(read(NOTEBOOKS / "11_finetune_ready_made.ipynb"), "difference to before")
    known += [
        (float(words[i - 1]), float(words[i + 1])) for words in gains for i in range(len(words)) if words[i] == "±"
    ]
    prose = re.sub(r"^\| ready-made .*$", "", readme, flags=re.M)  # the recipes have a test of their own
    said = [tuple(map(float, pair)) for pair in re.findall(r"(\d\.\d{3}) ± (\d\.\d{3})", prose)]
    assert len(said) == 8
    assert all(any(pair == pytest.approx(other, abs=6e-4) for other in known) for pair in said)


def test_what_is_served_and_stored_is_what_13_says():
    cells = read(NOTEBOOKS / "13_put_it_to_work.ipynb")
    printed = "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))
    served, measured = re.findall(r"^(?:served|notebook 04) +nDCG@10 (0\.\d{4})", printed, re.M)
    assert served == measured
    rows = {words[0]: words[1:] for words in table_of(cells, "costs.pivot(")}
    prose = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    said = re.search(r"worth (0\.\d{3}) as 384 rescored signs, (0\.\d{3}) as 48\s+numbers", prose)
    shown = [float(rows["384"][4]), float(rows["48"][2])]
    assert [float(value) for value in said.groups()] == pytest.approx(shown, abs=6e-4)


def test_the_recipes_are_those_that_were_measured():
    """In the README, the grid in docs/speed.md, and in the picture."""
    points = json.loads((ROOT / "docs" / "recipes.json").read_text())["points"]
    cells = read(NOTEBOOKS / "12_teach_from_scores.ipynb")
    shown = [o.data for cell in cells if "plot_recipes(" in cell.source for o in cell.outputs if "data" in o]
    assert base64.b64decode(shown[-1]["image/png"]) == (ROOT / "docs" / "recipes.png").read_bytes()
    for name, row in table(points).iterrows():
        page = ROOT / ("README.md" if name in RECIPES else "docs/speed.md")
        seeds, seconds, texts, mean, difference = row
        line = f"| {name} | {seeds} | {seconds} | {texts:,} | {mean:.3f} | {difference} |"
        assert line.replace("|  |", "| |") in page.read_text(), line


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_opening(path):
    opening = read(path)[0].source
    assert re.match(r"# .+\n\n> .+\n", opening)
    assert opening.count("\n- ") == 3
    for word in ("**Goal**", "**Runs**", "**Reads**", "**Writes**"):
        assert word in opening


def numbers_of_tables(text):
    """The figures of each row of each table, without what the row is about and the links in it."""
    rows = [line.split("|")[2:] for line in text.splitlines() if line.startswith("| ")]
    return [found for row in rows if (found := re.findall(r"[-+]?\d[\d.,]*", " ".join(row))) and len(row) > 3]


def test_both_readmes_have_the_same_commands_and_tables():
    ours, chinese = ((ROOT / name).read_text(encoding="utf8") for name in ("README.md", "README.zh-CN.md"))
    fenced = [re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M) for text in (ours, chinese)]
    commands = [[block for block in blocks if block[0] != "mermaid"] for blocks in fenced]
    assert commands[0] == commands[1] != []
    assert numbers_of_tables(ours) == numbers_of_tables(chinese) != []
    assert re.findall(r"\d\.\d{3} ± \d\.\d{3}", ours) == re.findall(r"\d\.\d{3} ± \d\.\d{3}", chinese)


PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", [*PATHS, *PAGES], ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:\s]+)\)", path.read_text(encoding="utf8")):
        assert (path.parent / target).exists(), target


def test_what_the_prose_says_of_the_demo_a_cell_has_printed():
    """A figure of three decimals in a sentence about `demo` stands in an output of the series, or in the README."""
    printed = (ROOT / "README.md").read_text()
    for path in PATHS:
        printed += "".join(str(cell.get("outputs", "")) for cell in read(path))
    for path in PATHS:
        for cell in read(path):
            for sentence in re.split(r"(?<=[.:;])\s", cell.source if cell.cell_type == "markdown" else ""):
                if "`demo`" in sentence:
                    assert all(figure in printed for figure in re.findall(r"\d\.\d{3}", sentence)), sentence


def test_the_readme_says_what_notebook_03_prints():
    [line] = [
        output.text
        for cell in code_cells(EVALUATIONS[0])
        for output in cell.outputs
        if "without it" in output.get("text", "")
    ]
    assert f"without it, it reaches an nDCG@10 of {line.split()[-1]} " in " ".join(
        (ROOT / "README.md").read_text().split()
    )
