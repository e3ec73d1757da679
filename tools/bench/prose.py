"""English-like text of a given length, the same for the same seed on every Python.

Words are drawn by Zipf's law from a vocabulary of common English: a small head of function words, a long tail of content
words with their inflections. What matters to a store that compresses is how well the text deflates, so that is
measured against real prose (`deflate_ratio`, printed by the benchmark): the exponent below is set so that the text is a
little harder to compress than real prose at every size from 200 bytes to 32 KB.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import random
import zlib
from collections.abc import Sequence

_FUNCTION_WORDS = """
the of and to a in is that for it as with be on by this are or you from at not an have which can your if will was we
but they has all when there their more so would about other what one out up into than them then its only some could these
may also do no over such our any how who first been should her him his she he my where most now after very because each
two before between through while both under same must still those since during without until within whether however
""".split()

_NOUNS = """
time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power hour
game line end member law car city community name president team minute idea body information back parent face level
office door health person art war history party result change morning reason research girl guy moment air teacher force
order flight ticket invoice account address payment refund package delivery battery warranty receipt password profile
setting update device screen browser network server region function table record session message answer request error
limit budget price total discount tax balance statement transfer deposit branch policy claim coverage doctor symptom dose
recipe flour butter oven onion garlic pepper sauce pan minute garden soil seed plant leaf root season rain storm wind
river mountain valley bridge station platform train bus ferry harbour island coast beach museum gallery concert ticket
hotel passport visa luggage airport gate seat row aisle window engine brake tyre wheel fuel mileage licence contract clause
tenant landlord lease rent repair kitchen ceiling floor wall paint brush ladder hammer screw drill wire socket fuse lamp
camera lens shutter exposure shadow colour pattern fabric thread needle sleeve collar pocket button shoe boot leather
violin melody chord rhythm stage actor scene script chapter paragraph sentence grammar accent letter alphabet dictionary
theory equation proof theorem sample variance estimate measurement pressure temperature density velocity orbit planet star
telescope galaxy signal frequency circuit voltage current sensor motor gear bearing valve pump pipe tank filter boiler
warehouse shelf pallet barcode supplier customer vendor manager engineer designer analyst lawyer judge witness evidence
verdict appeal treaty border embassy election ballot candidate senator minister council mayor village district province
century empire emperor castle temple monument ruin inscription coin merchant harvest plough cattle sheep wool cheese bread
""".split()

_VERBS = """
say make go take come see know get give find think tell become show leave feel put bring begin keep hold write stand hear
let mean set meet run pay sit speak lie lead read grow lose fall send build understand draw break spend cut rise drive buy
wear choose ask need work seem try call use move live believe happen include continue change watch follow stop create
open walk offer remember consider appear serve expect stay reach remain suggest raise pass require report decide pull
return explain hope develop carry receive agree support produce cover describe check compare confirm cancel schedule
install remove replace connect select enter submit reset restart upload download search filter sort copy paste print
measure mix stir bake boil chop season plant water dig trim repair paint drill tighten loosen adjust align balance record
translate summarise calculate estimate predict verify review approve reject negotiate deliver refund charge deposit
""".split()

_ADJECTIVES = """
good new first last long great little own other old right big high different small large next early young important few
public bad same able local sure free better true full special whole clear recent certain open available possible likely
common short single easy difficult ready current final main simple strong late hard private past foreign fine common poor
natural significant similar hot cold dead central happy serious final physical general environmental financial blue
medical traditional federal entire actual warm sweet bitter dry fresh heavy light loose tight narrow wide steep shallow
deep quiet loud bright dark pale smooth rough sharp dull flexible fragile durable reliable temporary permanent monthly
weekly daily annual regional national international digital manual automatic optional mandatory eligible partial exact
""".split()

_ADVERBS = "usually often rarely quickly slowly carefully directly probably already almost perhaps instead again together".split()

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
    content = [form for noun in _NOUNS for form in (noun, _plural(noun))]
    content += [form for verb in _VERBS for form in (verb, _third_person(verb), _past(verb), _progressive(verb))]
    content += _ADJECTIVES + _ADVERBS
    content = list(dict.fromkeys(content))
    random.Random("vocabulary").shuffle(content)
    return list(dict.fromkeys(_FUNCTION_WORDS + content))


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
