"""How hard README and the guide are to read: ``python docs/readability.py [FILE ...]`` prints Flesch-Kincaid grades.

Needs textstat (extra ``docs``). A grade of 10 or less passes. Counted is running text: paragraphs, list items and
captions. Left out are code blocks, tables, equations, headings, comments, pictures and addresses of links. Code and
formulas within a sentence count as one word of one syllable, so that the sentence keeps its length.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HARDEST = 10.0
WORD = "code"  # what stands for code and formulas within a sentence


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]


def running_text(markdown: str) -> str:
    """The sentences of a page, one paragraph or list item a line, each ended by a full stop."""
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    # Fenced code and directives, indented ones too; display equations.
    text = re.sub(r"^( *)(`{3,}|~{3,}|:{3,}).*?^\1\2`*[ \t]*$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$", "\n", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)(\{[^}]*\})?", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)|\[([^\]]*)\]\[[^\]]*\]", lambda found: found[1] or found[2] or "", text)
    text = re.sub(r"\{\w+\}`([^`<]*)(<[^>]*>)?`", r"\1", text)  # a role of Sphinx: its text
    text = re.sub(r"`[^`]+`|\$[^$\n]+\$", WORD, text)
    text = re.sub(r"https?://\S+|<[^>\n]+>", "", text)
    paragraphs: list[str] = []
    open_ = False
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or re.match(r"#{1,6} |\||(-{3,}|={3,}|\*{3,})$|\[[^\]]+\]:", stripped):
            open_ = False
            continue
        item = re.match(r"([-*+]|\d+[.)]) +(.*)", stripped)
        quoted = re.sub(r"^> ?", "", item[2] if item else stripped)
        if item or not open_:
            paragraphs.append(quoted)
        else:
            paragraphs[-1] += f" {quoted}"
        open_ = True
    return "\n".join(_sentence(paragraph) for paragraph in paragraphs if re.search(r"\w", paragraph))


def _sentence(paragraph: str) -> str:
    plain = re.sub(r"\*{1,3}(?=\S)|(?<=\S)\*{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)", "", paragraph)
    # A formula in words of its own letters, such as σ²_kc or 2.5.
    plain = re.sub(r"\S*[²³αβγδκλμπσφΣΛθ=≤≥±×∞]\S*", WORD, plain)
    plain = re.sub(r"[\w/-]*\w\.[A-Za-z]\w*", WORD, plain)  # the name of a file or a module
    plain = re.sub(r"(\d)[.,](\d)", r"\1\2", plain)  # 0.66 is no end of a sentence
    plain = re.sub(r"\b(e\.g|i\.e|etc|vs|cf)\.", r"\1", plain)
    plain = re.sub(r"\s+", " ", plain).strip()
    return plain if re.search(r"[.!?][\"')]*$", plain) else plain.rstrip(":;,") + "."


def grade(markdown: str) -> float:
    import textstat

    return float(textstat.flesch_kincaid_grade(running_text(markdown)))


def main() -> None:
    given = [Path(argument) for argument in sys.argv[1:]]
    found = [(path, grade(path.read_text(encoding="utf-8"))) for path in given or pages()]
    for path, value in found:
        shown = path.resolve()
        name = shown.relative_to(ROOT).as_posix() if shown.is_relative_to(ROOT) else str(path)
        print(f"{value:5.1f}  {name}{'' if value <= HARDEST else f'  above {HARDEST:g}'}")
    if any(value > HARDEST for _, value in found):
        raise SystemExit(f"shorter sentences and shorter words: {HARDEST:g} is the most")


if __name__ == "__main__":
    main()
