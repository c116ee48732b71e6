import json
import tracemalloc

import pytest

from helpers.base.errors import UserError
from helpers.base.files import Rows, read_json, read_lines, whole_file, write_json, write_jsonl, writing
from helpers.base.fingerprint import file_fingerprint, fingerprint


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "file.json"
    write_json(path, {"old": "ü"})
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text(encoding="utf8") == '{\n "old": "ü"\n}\n'
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_what_is_no_character_comes_back_as_it_went(tmp_path):
    name = b"b\xff\xd6.jsonl".decode("utf8", "surrogateescape")  # as Python gives such a file's name
    write_json(tmp_path / "file.json", {"source": name})
    assert (tmp_path / "file.json").read_text(encoding="utf8") == '{\n "source": "b\\udcff\\udcd6.jsonl"\n}\n'
    assert read_json(tmp_path / "file.json") == {"source": name}
    assert fingerprint([name]) != fingerprint(["b.jsonl"])
    assert fingerprint(["中文"]) == fingerprint(["中文"]) != fingerprint(["中", "文"])


def test_the_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_bytes("\ufeffquery,positive\r\n中,文\r\n".encode() + b"\xd6\xd0,x\r\n")
    lines = read_lines(path, "write it")
    assert [next(lines), next(lines)] == [(1, "query,positive\r\n"), (2, "中,文\r\n")]
    with pytest.raises(UserError, match=r"pairs.csv is not text in UTF-8 \(see line 3\); save it as UTF-8\.$"):
        next(lines)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="was not written: .*; free some space or check the folder"):
        write_jsonl(tmp_path / "file" / "rows.jsonl", [{}])


def test_what_is_not_about_writing_is_no_sentence(tmp_path):
    with (
        pytest.raises(UserError, match="model was not written: No space left on device; mend it"),
        writing(tmp_path / "model", "mend it"),
    ):
        raise OSError(28, "No space left on device")
    with pytest.raises(RuntimeError, match="a bug"), writing(tmp_path / "model"):
        raise RuntimeError("a bug")


def test_rows_are_read_when_they_are_asked_for(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = ['{"text": "gämma \u2028 one"}', "", '  {"text": "two\\nlines"}  ', "   ", '{"text": "last"}']
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf8")  # as editors of Windows begin a file
    seen = []
    rows = Rows(path, "write it", lambda where, row: seen.append((where, row["text"])))
    texts = ["gämma \u2028 one", "two\nlines", "last"]
    assert seen == [(f"{path}, line {number}", text) for number, text in zip((1, 3, 5), texts, strict=True)]
    assert (len(rows), [row["text"] for row in rows]) == (3, texts)
    assert [rows[i]["text"] for i in (2, 0, -1)] == [texts[2], texts[0], texts[2]]
    start, size = rows.span(1, 3)
    read = path.read_bytes()[start : start + size].split(b"\n")
    assert [json.loads(line)["text"] for line in read if line.strip()] == texts[1:]
    with pytest.raises(IndexError):
        rows[3]
    path.unlink()
    write_jsonl(path, [{"text": "another file"}])
    assert rows[0]["text"] == texts[0]


def test_rows_take_sixteen_bytes_each_in_memory(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", ({"text": f"{i} " * 100} for i in range(10_000)))
    tracemalloc.start()
    rows = Rows(tmp_path / "rows.jsonl", "write it", lambda where, row: None)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 10_000
    assert kept < 30 * len(rows)  # with what the array has ahead; the texts are some 4 MB


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read (No such file or directory); write it."),
        (b"", "is empty; write it."),
        (b"\n  \n", "is empty; write it."),
        (b'{"a": 1}\n{"a": \n', ", line 2: not JSON ("),
        (b'{"a": 1}\n\n[1]\n', ", line 3: not a JSON object; write one object a line."),
        (b'{"a": "\xff"}\n', ", line 1: not text in UTF-8 ("),
    ],
)
def test_rows_that_are_not_sound_are_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        Rows(path, "write it", lambda where, row: None)
    assert str(error.value).startswith(f"{path}{sentence}" if sentence[0] == "," else f"{path} {sentence}")
    assert "\n" not in str(error.value)


def test_a_notebook_shows_the_sentence_alone(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell().run_cell('from helpers.base.errors import UserError\nraise UserError("Mend the file.")')
    assert capsys.readouterr().out == "Error: Mend the file.\n"


def test_rows_have_the_digest_of_what_was_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    before = file_fingerprint(path)
    rows = Rows(path, "run it", lambda where, row: None)
    path.with_name("new").write_text('{"a": 3}\n')
    path.with_name("new").replace(path)
    assert rows.digest == before != file_fingerprint(path)
    assert [row["a"] for row in rows] == [1, 2]
