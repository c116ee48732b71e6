import re

import pytest

from helpers.sampling.docstrings import docstring_pairs, read_docstrings, split_docstring


def test_first_sentence_and_prose():
    docstring = """Compute the mean, e.g. of a :func:`~numpy.array`. It is fast.

    The mean is the sum over the count, and ``nan`` spoils it for everyone else.

    .. versionadded:: 1.4
       With an indented body.

    Parameters
    ----------
    a : array_like
        Not prose.
    """
    query, passage = split_docstring("\n".join(line.removeprefix("    ") for line in docstring.splitlines()))
    assert query == "Compute the mean, e.g. of a numpy.array."
    assert passage == "It is fast. The mean is the sum over the count, and nan spoils it for everyone else."


@pytest.mark.parametrize(
    "docstring",
    [
        "Return the %(klass)s as another one.\n\n" + "Words of prose. " * 10,
        "read_csv(path, sep) -> DataFrame and more of it.\n\n" + "Words of prose. " * 10,
        "Compute something useful from the data.\n\nParameters\n----------\na : int\n    " + "Many words. " * 20,
        "Compute something useful from the data.\n\nArgs:\n    a: " + "Many words. " * 20,
        "Too short.\n\n" + "Words of prose. " * 10,
        "Compute something useful from the data.\n\nToo short a rest.",
        "",
    ],
)
def test_what_is_no_pair(docstring):
    assert split_docstring(docstring) is None


def test_reading_imports_nothing(tmp_path, monkeypatch):
    package = tmp_path / "boom"
    package.mkdir()
    (package / "__init__.py").write_text('raise RuntimeError("imported")')
    (package / "module.py").write_text(
        'class Public:\n    "A class."\n    def method(self):\n        "A method."\n'
        '    def _hidden(self):\n        "Hidden."\n'
        'def outer():\n    "A function."\n    def inner():\n        "Inner."\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert list(read_docstrings("boom")) == ["A class.", "A method.", "A function."]


def test_pairs_are_clean():
    pairs = docstring_pairs(("networkx",))
    assert len(pairs) > 400
    queries = [pair["query"] for pair in pairs]
    passages = [pair["positive"][0] for pair in pairs]
    assert len({query.lower() for query in queries}) == len(pairs)
    assert len(set(passages)) == len(pairs)
    for text in queries + passages:
        assert not re.search(r"%\(\w+\)s|^\w+\(.*\) ->|-{4,}|:\w+:`", text), text
    assert all(len(passage.split()) >= 12 for passage in passages)


def test_near_copies_count_once(tmp_path, monkeypatch):
    package = tmp_path / "twins"
    package.mkdir()
    prose = "Every line of this long explanation is the same but for one word. " * 3
    functions = [
        f'def {word}():\n    """Return the {word} of all values.\n\n    {prose}{word}.\n    """\n'
        for word in ("minimum", "maximum")
    ]
    (package / "__init__.py").write_text("".join(functions))
    monkeypatch.syspath_prepend(tmp_path)
    assert [pair["query"] for pair in docstring_pairs(("twins",))] == ["Return the minimum of all values."]
