"""English-like text of a given length, the same for the same seed on every Python.

Words are drawn by Zipf's law from a vocabulary of common English: a small head of function words, a long tail of
content words with their inflections. What matters to a store that compresses is how well the text deflates, so that is
measured against real prose (`deflate_ratio`, printed by the benchmark): the numbers below are set so that the text is a
little harder to compress than real prose at every size from 200 bytes to 32 KB.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

_WORDS = Path(__file__).with_name("words.txt")

_ZIPF_EXPONENT = 1.1
_ZIPF_SHIFT = 2.0
_USUAL_SUCCESSORS = 4
_USUAL = 0.6
_AGAIN = 0.15
_MEMORY_WORDS = 120


class Writer:
    """Writes prose, one piece after the other; one writer a conversation.

    Three habits of real prose make it deflate as real prose does: words follow Zipf's law, each has a few usual
    successors, and words used a short while ago come again.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._recent: collections.deque[int] = collections.deque([0], maxlen=_MEMORY_WORDS)

    def text(self, length: int) -> str:
        """Prose of exactly this many characters, all of them ASCII."""
        written = ""
        while len(written) < length:
            written += self._sentence() + ("\n\n" if self._rng.random() < 0.06 else " ")
        return written[:length]

    def _sentence(self) -> str:
        words = [self._word() for _ in range(5 + int(self._rng.random() * 17))]
        if len(words) > 11:
            words[len(words) // 2] += ","
        sentence = " ".join(words)
        return sentence[0].upper() + sentence[1:] + ("?" if self._rng.random() < 0.08 else ".")

    def _word(self) -> str:
        chance = self._rng.random()
        if chance < 0.02:
            return str(int(self._rng.random() * 2000))
        if chance < _USUAL:
            rank = _draw(_SUCCESSOR_WEIGHTS, self._rng)
            rank = _SUCCESSORS[self._recent[-1]][rank]
        elif chance < _USUAL + _AGAIN:
            rank = self._recent[int(self._rng.random() * len(self._recent))]
        else:
            rank = _draw(_WEIGHTS, self._rng)
        self._recent.append(rank)
        return _VOCABULARY[rank]


def deflate_ratio(prose: str, piece: int) -> float:
    """Deflated size over size, when cut into pieces of so many bytes; smaller is more compressible.

    Args:
        prose: The text.
        piece: Bytes of one piece.
    """
    data = prose.encode()
    pieces = [data[start : start + piece] for start in range(0, len(data) - piece + 1, piece)]
    return sum(len(zlib.compress(each, 6)) for each in pieces) / (piece * len(pieces))


def _vocabulary() -> list[str]:
    """Function words first, then content words with their inflections in a fixed shuffle: rank is frequency."""
    words: dict[str, list[str]] = collections.defaultdict(list)
    for line in _WORDS.read_text().splitlines():
        kind, _, listed = line.partition(": ")
        words[kind] += listed.split()
    content = [form for noun in words["noun"] for form in (noun, _plural(noun))]
    content += [form for verb in words["verb"] for form in (verb, _third_person(verb), _past(verb), _progressive(verb))]
    content = list(dict.fromkeys(content + words["adjective"] + words["adverb"]))
    random.Random("vocabulary").shuffle(content)
    return list(dict.fromkeys(words["function"] + content))


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


_third_person = _plural


def _past(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ied"
    return f"{verb}d" if verb.endswith("e") else f"{verb}ed"


def _progressive(verb: str) -> str:
    return f"{verb[:-1]}ing" if verb.endswith("e") else f"{verb}ing"


def _draw(cumulative: Sequence[float], rng: random.Random) -> int:
    return bisect.bisect(cumulative, rng.random() * cumulative[-1])


def _zipf(count: int) -> list[float]:
    return list(itertools.accumulate((rank + _ZIPF_SHIFT) ** -_ZIPF_EXPONENT for rank in range(count)))


_VOCABULARY = _vocabulary()
_WEIGHTS = _zipf(len(_VOCABULARY))
_SUCCESSOR_WEIGHTS = _zipf(_USUAL_SUCCESSORS)


def _successors() -> list[list[int]]:
    rng = random.Random("successors")
    return [[_draw(_WEIGHTS, rng) for _ in range(_USUAL_SUCCESSORS)] for _ in _VOCABULARY]


_SUCCESSORS = _successors()
