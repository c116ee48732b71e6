"""Query-passage pairs from the docstrings of installed packages: the first sentence, and the prose after it."""

import ast
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from helpers.sampling.documents import first_sentence

# Pinned in requirements.txt, so that everyone gets the same pairs.
PACKAGES = ("sklearn", "scipy", "pandas", "numpy", "networkx", "matplotlib")
NOT_PUBLIC = {"test", "tests", "testing", "_vendor", "externals", "_externals", "_lib", "distutils", "sphinxext"}

SECTION = re.compile(  # "Parameters" over dashes (numpydoc), "Args:" (Google), doctests, literal blocks
    r"^\s*(?:[A-Z][\w ]+\n\s*[-=~]{3,}\s*$|(?:Args|Arguments|Returns|Raises|Examples?|Notes?)\s*:|>>>|:param )", re.M
)
DIRECTIVE = re.compile(r"^\s*\.\. .*(?:\n(?:[ \t]+.*)?)*", re.M)  # ".. versionadded:: 1.4" with its indented body
ROLE = re.compile(r":[a-z:]+:`(?:[^`<]*<)?[~!.]?([^`>]+)>?`")  # :func:`~numpy.mean` -> numpy.mean
TEMPLATE = re.compile(r"%\(\w+\)s|(?<![\w\\}])\{\w+\}")  # filled in at import time, unreadable before
SIGNATURE = re.compile(r"^\S+\(|->|::|>>>|=|https?://")

QUERY_WORDS = range(4, 31)
MIN_PASSAGE_WORDS = 12  # less is a remark, not a passage
SHINGLE = 4  # words
NEAR_COPY = 0.5  # share of a passage's shingles found in one earlier passage


def standard_library() -> tuple[str, ...]:
    """Return the public modules and packages of Python's own library that are written in Python."""
    left_out = {"idlelib", "lib2to3", "test", "turtledemo", "this", "antigravity"}
    names = sorted(name for name in sys.stdlib_module_names - left_out if not name.startswith("_"))
    specs = {name: importlib.util.find_spec(name) for name in names}
    return tuple(name for name, spec in specs.items() if spec and (spec.origin or "").endswith(".py"))


def package_versions() -> str:
    """Return which versions the docstrings are of."""
    return " ".join(f"{name}-{version(name.replace('sklearn', 'scikit-learn'))}" for name in PACKAGES)


def read_docstrings(package: str) -> Iterator[str]:
    """Yield the docstrings of a package's public functions and classes, in file order; raises ModuleNotFoundError."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed: pip install -r requirements.txt")
    root = Path(spec.origin).parent
    for path in sorted(root.rglob("*.py")) if spec.submodule_search_locations else [Path(spec.origin)]:
        if NOT_PUBLIC.isdisjoint(path.relative_to(root).parts) and not path.name.startswith(("test_", "conftest")):
            yield from _public_docstrings(ast.parse(path.read_text(encoding="utf8")))


def _public_docstrings(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            if docstring := ast.get_docstring(child):
                yield docstring
        if isinstance(child, ast.ClassDef | ast.If | ast.Try):  # not functions: what they define inside is private
            yield from _public_docstrings(child)


def split_docstring(docstring: str) -> tuple[str, str] | None:
    """Return a docstring's first sentence and prose after it, less markup; None if one says too little or is code."""
    prose = DIRECTIVE.sub("", SECTION.split(docstring, maxsplit=1)[0])
    query, explanation = first_sentence(ROLE.sub(r"\1", prose).replace("`", ""))
    passage = explanation.split()
    if TEMPLATE.search(docstring) or SIGNATURE.search(query) or not (query[:1].isalpha() and query.endswith(".")):
        return None
    enough = len(query.split()) in QUERY_WORDS and len(passage) >= MIN_PASSAGE_WORDS
    return (query, " ".join(passage)) if enough else None


def _package_pairs(package: str) -> list[tuple[str, str]]:
    return [pair for docstring in read_docstrings(package) if (pair := split_docstring(docstring))]


def docstring_pairs(packages: tuple[str, ...] = PACKAGES) -> list[dict]:
    """Return the pairs of all packages, `{"query": str, "positive": [str]}`, without repeats or near-copies."""
    pairs: dict[str, dict] = {}  # by their query, without case
    seen: dict[tuple[str, ...], list[int]] = {}  # shingle -> numbers of the pairs that have it
    with ProcessPoolExecutor() as pool:  # parsing takes nearly all the time
        for query, passage in chain.from_iterable(pool.map(_package_pairs, packages)):
            words = re.findall(r"\w+", passage.lower())
            shingles = {tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}
            shared = Counter(number for shingle in shingles for number in seen.get(shingle, ()))
            # A docstring goes from class to class with a word changed; of two right answers only one would count.
            if query.lower() in pairs or max(shared.values(), default=0) > NEAR_COPY * len(shingles):
                continue
            for shingle in shingles:
                seen.setdefault(shingle, []).append(len(pairs))
            pairs[query.lower()] = {"query": query, "positive": [passage]}
    return list(pairs.values())
