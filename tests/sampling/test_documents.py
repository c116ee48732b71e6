import json

import pytest
from conftest import run_python

from helpers.base.errors import UserError
from helpers.base.profile import ROOT
from helpers.sampling import load_pairs
from helpers.sampling.documents import MAX_WORDS, documents, first_sentence
from helpers.sampling.texts import words

TOOL = """---
title: not a text
# nor: a heading
---
# My *tool*

It does [many things](http://x.y) for those who ask.

## Installation

Run this in a shell:

```bash
# no heading
pip install tool
```

### On Linux
Take what your distribution <b>offers</b>, as root.

## How do I reset it?
<!-- no text -->
Press the button on the back for ten seconds.

## Later

Setext
------
One value a row, as below.

| a | b |
|---|---|
| 1 | 2 |

## Tiny
No.
"""


def written(folder, files):
    for name, content in files.items():
        path = folder / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    documents(folder / "notes", folder / "pairs.jsonl")
    lines = (folder / "pairs.jsonl").read_text(encoding="utf8").splitlines()
    return {row["query"]: row["positive"] for row in map(json.loads, lines)}


def test_headings_ask_and_sections_answer(tmp_path, capsys):
    pairs = written(tmp_path, {"tool.md": TOOL})
    assert pairs == {
        "My tool": ["It does many things for those who ask."],
        "My tool: Installation": ["Run this in a shell: # no heading pip install tool"],
        "My tool: Installation: On Linux": ["Take what your distribution offers, as root."],
        "How do I reset it?": ["Press the button on the back for ten seconds."],
        "My tool: Setext": ["One value a row, as below. a b 1 2"],
    }
    said = capsys.readouterr().out
    assert "5 queries, 5 passages, of 1 documents; left out:" in said
    assert "1 headings without text of their own" in said
    assert "1 passages of fewer than 5 words" in said


def test_equal_headings_of_two_files_are_two_questions(tmp_path):
    section = "## Installation\r\n\r\nUnpack {0} and run what is in it.\r\n"
    files = {
        f"{name}.markdown": section.format(name) + "## Use\n\nStart it and wait a while.\n" for name in ("ab", "cd")
    }
    pairs = written(tmp_path, files)
    assert pairs["ab: Installation"] == ["Unpack ab and run what is in it."]
    assert pairs["cd: Installation"] == ["Unpack cd and run what is in it."]
    assert len(pairs) == 4


def test_without_headings_the_first_sentence_asks(tmp_path):
    files = {
        "deep/er/note.txt": "Keep it cool, e.g. in a cellar. It lasts\nfor a year there.\n \nThen throw it away.",
        "before.md": "This stands above. No heading came so far.\n\n# Heading\n\nThis is what stands below it.",
        "titled.TXT": "A title\n\nand a text that goes on below it.",
    }
    assert written(tmp_path, files) == {
        "This stands above.": ["No heading came so far."],
        "Heading": ["This is what stands below it."],
        "Keep it cool, e.g. in a cellar.": ["It lasts for a year there. Then throw it away."],
        "A title": ["and a text that goes on below it."],
    }


def test_chinese(tmp_path):
    files = {
        "faq.md": "# 常见问题\n## 如何退货？\n收到后七天内可以无理由退货。\n## 运费\n满九十九元免运费。\n",
        "note.txt": "退货需要多久？一般在三个工作日内到账。请保留发票。",
    }
    assert written(tmp_path, files) == {
        "如何退货？": ["收到后七天内可以无理由退货。"],
        "常见问题: 运费": ["满九十九元免运费。"],
        "退货需要多久？": ["一般在三个工作日内到账。请保留发票。"],
    }


@pytest.mark.parametrize(
    "text", ["\n\n".join(f"Paragraph {i} has words. " * 9 for i in range(20)), "这是一个没有空行的长段落。" * 99]
)
def test_long_sections_are_cut_and_nothing_is_lost(tmp_path, text):
    pairs = written(tmp_path, {"long.md": f"# Everything\n\n{text}\n", "long.txt": text})
    passages = pairs.pop("Everything")
    assert len(passages) > 3
    assert all(MAX_WORDS / 2 < len(words(passage)) <= MAX_WORDS * 1.1 for passage in passages[:-1])
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert len(pairs) >= 1  # without a heading each part asks by itself


def test_what_cannot_be_read_is_counted(tmp_path, capsys):
    files = {"a.txt": "One sentence. And then enough of words.", "b.txt": b"caf\xe9", "c.md": " \n", ".git/d.md": TOOL}
    assert list(written(tmp_path, files)) == ["One sentence."]
    said = capsys.readouterr().out
    assert "of 3 documents" in said
    assert "1 files without text" in said
    assert "b.txt is not text in UTF-8" in said


def test_what_is_refused(tmp_path):
    written(tmp_path, {"a.txt": "One sentence. And then enough of words."})
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, out, sentence in [
        (tmp_path / "notes", "pairs.jsonl", "pairs.jsonl is there already; give another name"),
        (tmp_path / "notes", "pairs.csv", "pairs.csv does not end in .jsonl"),
        (tmp_path / "none", "new.jsonl", "There is no folder .*none; give one with documents in .md"),
        (empty, "new.jsonl", "no pair in 0 documents"),
    ]:
        with pytest.raises(UserError, match=sentence):
            documents(folder, tmp_path / out)
    assert not (tmp_path / "new.jsonl").exists()


def test_the_command(tmp_path):
    written(tmp_path, {"tool.md": TOOL})
    done = run_python(ROOT, "-m", "helpers", "documents", tmp_path / "notes", tmp_path / "again.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "pairs.jsonl").read_bytes()
    done = run_python(ROOT, "-m", "helpers", "documents", tmp_path / "notes", tmp_path / "again.jsonl")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_the_series_reads_what_is_written(make_profile, tmp_path):
    expected = written(tmp_path, {"tool.md": TOOL, "note.txt": "退货需要多久？一般在三个工作日内到账。"})
    pairs = load_pairs(make_profile(DATASET=tmp_path / "pairs.jsonl"))
    assert {pair["query"]: pair["positive"] for pair in pairs} == expected


@pytest.mark.parametrize(
    ("text", "first", "rest"),
    [
        ("Is it? Yes, e.g. Here it is.", "Is it?", "Yes, e.g. Here it is."),
        ("No end\nat all", "No end at all", ""),
        ("他说：“好。”然后走了。", "他说：“好。”", "然后走了。"),
        ("Version 2.5 is out. 中文也行。", "Version 2.5 is out.", "中文也行。"),
    ],
)
def test_first_sentence(text, first, rest):
    assert first_sentence(text) == (first, rest)
