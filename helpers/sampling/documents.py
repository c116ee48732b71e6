"""Query-passage pairs from a folder of Markdown and plain text: a heading asks, the section below it answers."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import regex
from markdown_it import MarkdownIt
from markdown_it.token import Token

from helpers.base import UserError, read_lines, write_jsonl
from helpers.sampling.texts import is_text, text_id, words

FORMATS = (".md", ".markdown", ".txt")
MAX_WORDS = 200  # of a passage, as `words` counts them: in any language BERT's 512 tokens hold as many
MIN_WORDS, MAX_QUERY_WORDS = 5, 40  # a passage of less says nothing

BOUNDARY = regex.compile(  # between two sentences
    r"(?<=[.!?])(?<!\b(?:e\.g|i\.e|vs|cf)\.)\s+(?=[\p{Lu}\p{Lo}\"(*])|(?<=[。！？][”」』）]?)(?![。！？”」』）])\s*"
)
FRONT_MATTER = regex.compile(r"\A---\s*\n.*?\n(?:---|\.\.\.)\s*(?:\n|\Z)", regex.S)
TAGS = regex.compile(r"<!--.*?-->|<[^>]*>", regex.S)
BLANK_LINE = regex.compile(r"\n\s*\n")


def first_sentence(text: str) -> tuple[str, str]:
    """Return the first sentence of a text, or its first paragraph if no sentence ends there, and all that follows."""
    paragraph, *others = BLANK_LINE.split(text.strip(), maxsplit=1)
    first, *rest = BOUNDARY.split(paragraph, maxsplit=1)
    return " ".join(first.split()), "\n".join(rest + others)


def markdown_sections(text: str, title: str) -> list[tuple[list[str], list[str]]]:
    """Return a Markdown text's sections, less markup: headings, the outermost first, and paragraphs below the last.

    The first section has no heading. All headings are below `title`, unless one that all others are below comes first.
    """
    tokens = MarkdownIt().enable("table").parse(FRONT_MATTER.sub("", text))
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open" and not token.level]
    path = [] if levels and levels[0] < min(levels[1:], default=9) else [(0, title)]  # level and heading
    sections: list[tuple[list[str], list[str]]] = [([], [])]
    for before, token in zip(["", *(token.type for token in tokens)], tokens, strict=False):
        if before == "heading_open" and token.level == 1:
            level = levels.pop(0)
            path = [*(above for above in path if above[0] < level), (level, _plain(token))]
            sections.append(([heading for _, heading in path if heading], []))
        elif token.type in ("inline", "fence", "code_block", "html_block"):
            sections[-1][1].append(_plain(token))
    return sections


def _plain(token: Token) -> str:
    if token.type != "inline":
        return TAGS.sub(" ", token.content) if token.type == "html_block" else token.content
    parts = (part for part in token.children or () if part.type != "html_inline")
    return "".join(" " if part.type.endswith("break") else part.content for part in parts)


def cut(paragraphs: list[str]) -> list[str]:
    """Return passages of at most `MAX_WORDS`, cut between paragraphs, else between sentences, else anywhere."""
    found, size = list[str](), MAX_WORDS
    for part in chain.from_iterable(map(_parts, filter(is_text, paragraphs))):
        length = len(words(part))
        if found and (size + length <= MAX_WORDS or length < MIN_WORDS):
            found[-1] += "\n\n" + part
            size += length
        else:
            found.append(part)
            size = length
    return found


def _parts(paragraph: str) -> Iterator[str]:
    for part in [paragraph] if len(words(paragraph)) <= MAX_WORDS else BOUNDARY.split(paragraph):
        while len(words(part)) > MAX_WORDS:  # a table, code, or a script without these marks
            end = len(part) * MAX_WORDS // len(words(part))
            end = part.rfind(" ", end // 2, end) if " " in part[end // 2 : end] else end
            yield part[:end]
            part = part[end:]
        yield part


def section_pairs(headings: list[str], paragraphs: list[str], left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield query and passage of what `cut` makes of a section; count in `left_out` what is no pair, and why.

    The query is the last heading, after those above unless it asks; without headings a passage's own first sentence.
    """
    passages = cut(paragraphs)
    left_out["headings without text of their own"] += bool(headings and not passages)
    heading = ": ".join(headings[-1:] if headings and headings[-1].endswith(("?", "？")) else headings)
    for text in passages:
        query, passage = (heading, text) if headings else first_sentence(text)
        if len(words(passage)) < MIN_WORDS:
            left_out[f"passages of fewer than {MIN_WORDS} words"] += 1
        elif len(words(query)) not in range(1, MAX_QUERY_WORDS + 1):
            left_out[f"passages without a query of at most {MAX_QUERY_WORDS} words"] += 1
        else:
            yield query, " ".join(passage.split())


def documents(folder: Path, out: Path) -> None:
    """Write the pairs of a folder's documents into a file for `DATASET`; print their number.

    Hidden files are left alone. Raises UserError: no such folder, no pair, or the file is there or not named .jsonl.
    """
    if out.suffix != ".jsonl" or out.exists():
        raise UserError(f"{out} {'is there already' if out.exists() else 'does not end in .jsonl'}; give another name.")
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; give one with documents in {', '.join(FORMATS)}.")
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    shown = [path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts)]
    files = [path for path in shown if path.suffix.lower() in FORMATS]
    left_out = Counter(f"files in {path.suffix or path.name}" for path in shown if path.suffix.lower() not in FORMATS)
    pairs: dict[int, dict] = {}
    for path in files:
        try:
            text = "".join(line for _, line in read_lines(path, "check who may read it"))
        except UserError as error:
            left_out[f"file: {error}".rstrip(".")] += 1
            continue
        left_out["files without text"] += not is_text(text)
        plain = path.suffix.lower() == ".txt"
        for section in [([], BLANK_LINE.split(text))] if plain else markdown_sections(text, path.stem):
            for query, passage in section_pairs(*section, left_out):
                pairs.setdefault(text_id(query), {"query": query, "positive": []})["positive"].append(passage)
    why = "; ".join(f"{count} {reason}" for reason, count in left_out.items() if count) or "nothing"
    if not pairs:
        raise UserError(f"{folder}: no pair in {len(files)} documents in {', '.join(FORMATS)}; left out: {why}")
    write_jsonl(out, pairs.values())
    passages = sum(len(pair["positive"]) for pair in pairs.values())
    print(f"{out}: {len(pairs)} queries, {passages} passages, of {len(files)} documents; left out: {why}")
