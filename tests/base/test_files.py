import pytest

from helpers.base.errors import UserError
from helpers.base.files import whole_file, write_json, write_jsonl


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "folder" / "file.json"
    write_json(path, {"old": "ü"})
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text(encoding="utf8") == '{\n "old": "ü"\n}\n'
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="was not written: .*; free some space or check the folder"):
        write_jsonl(tmp_path / "file" / "rows.jsonl", [{}])


def test_a_notebook_shows_the_sentence_alone(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell().run_cell('from helpers.base.errors import UserError\nraise UserError("Mend the file.")')
    assert capsys.readouterr().out == "Error: Mend the file.\n"
