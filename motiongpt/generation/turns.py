"""What a sentence of a conversation asks for: a new motion, a change of the last one, what comes next, an answer.

    a person waves, but slowly     new: it begins with a subject
    walk backwards                 new: an order tells a whole motion by itself
    but slower                     a change of the last motion
    then sit down                  goes on from its end
    what is the person doing?      a question

No model decides. `RULES` are regular expressions over the folded sentence, tried in order, and the first that is found
wins; a sentence that none fits is new. They look at words alone, not at what was said before, so a sentence always
means the same. Three prefixes overrule them: "new:", "change:", "then:".
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from motiongpt.data.spelling import fold

NEW, CHANGE, CONTINUATION, QUESTION = "new", "change", "continuation", "question"
AGAIN, UNDO, HELP = "again", "undo", "help"
REST = "rest"  # the group of a rule that holds what is left to say: "sit down" of "then sit down"

PREFIXES = {"new": NEW, "change": CHANGE, "then": CONTINUATION}
PREFIX = re.compile(rf"\s*({'|'.join(PREFIXES)})\s*:(.*)", re.IGNORECASE | re.DOTALL)

WHOLE = {
    HELP: ("help", "what can i say", "what can you do"),
    UNDO: ("undo", "undo it", "undo that", "go back", "take it back", "take that back"),
    AGAIN: ("again", "once again", "try again", "do it again", "do that again", "another try", "another one",
            "another"),
    CONTINUATION: ("go on", "continue", "keep going", "carry on", "then", "and then", "next", "what next",
                   "what happens next", "what comes next"),
}  # fmt: skip
"""Sentences that are no motion at all, whatever a run knows. A continuation among them names no sentence."""

POLITE = re.compile(
    r"(?:please|(?:can|could|would|will) you|i(?: want|'d like| would like) (?:you to|to see)|(?:how|what) about"
    r"|show me|let's see|let us see)\b,? "
)
POLITE_END = re.compile(r",? please$")

PERSON = r"(?:person|people|man|men|woman|women|boy|girl|child|human|figure|guy|lady|dancer|player)"
INDEFINITE = rf"(?:(?:an?|one|another|two|some) (?:\w+ )?{PERSON}|someone|somebody)\b"
DEFINITE = rf"(?:(?:the|this|that) (?:\w+ )?{PERSON}|he|she|they)\b"
ASIDE = r"(?:(?:after|before|while|when|once|on|in|with|at|to|\w+ly)\b[^,]*, )?"  # "after a squat, " before a subject
LIMBS = r"(?:hands?|arms?|legs?|foot|feet|knees?|sides?|directions?|ways?|parts?)"
PART = r"(?:first|second|last|end|beginning|start)"
COMPARED = (
    r"faster|slower|quicker|bigger|smaller|larger|higher|lower(?! (?:into|onto|the|your))|further|farther|longer"
    r"|shorter|wider|narrower|deeper|harder|softer|closer|stronger|weaker|calmer|smoother"
)

RULES: tuple[tuple[str, str], ...] = (
    # 1) Whole sentences. One that speaks of "it" means the last motion, whoever does it.
    (CHANGE, rf"^{DEFINITE} (?:should |must )?(?:do|does) (?:it|that|this|the same)\b"),
    (NEW, rf"^(?:now,? |instead,? |this time,? )?{ASIDE}(?:\w+ly,? )?(?:there (?:is|are) )?{INDEFINITE}"),
    (NEW, rf"^{ASIDE}(?:\w+ly,? )?{DEFINITE}"),
    # 2) Questions without their mark; one with it is settled before.
    (QUESTION, r"^(?:what|how|which|who|why|is|are|was|does|did|describe|explain|tell me)\b"),
    # 3) What comes next, if it says so at once.
    (CONTINUATION, r"^(?:and |but )?(?:now also|also|then|after (?:that|this)|afterwards?|next|finally|lastly)\b[,:]? "
                   rf"(?P<{REST}>(?!.*\binstead$).+)"),
    # 4) Changes by their first words.
    (CHANGE, r"^(?:and )?(?:but|now|no|not|do not|don't|it|only|just|even|too|less|more|much"
             r"|(?:the )?same|instead|rather|a (?:bit|little|lot)|repeat|replace|exaggerate|mirror|reverse|hurry)\b"),
    (CHANGE, r"^turn (?:it|that|this|him|her|them)\b"),
    (CHANGE, r"^(?:do|perform|make|keep|let|switch|swap|speed|slow) (?:it|that|this|him|her|them|sides"
             rf"|(?:to )?the {PERSON}|(?:to )?(?:the|your|his|her|its) (?:movements?|motions?|steps?|pace|speed|left"
             rf"|right|other|{LIMBS})|both)\b"),
    (CHANGE, r"^(?:make .+|put) (?:less|more|bigger|smaller)\b"),
    (CHANGE, r"^(?:speed up|slow down|pick up the pace|(?:increase|reduce) the|(?:use|move) (?:more|less)"
             r"|take (?:more|less|your) time|add (?:one|the other|another)|take both|change)\b"),
    (CHANGE, r"^(?:use|take) (?:both|only|one|two|a single|(?:the|your|his|her) (?:left|right|other|opposite))\b"),
    (CHANGE, rf"^(?:skip|drop|remove|forget|cut|leave out|stop after|end after)\b.*(?: {PART}|ing)\b"),
    (CHANGE, rf"^leave (?:out )?one {LIMBS}\b"),
    (CHANGE, r"^(?:with|without|on|to|in|at)\b"),
    (CHANGE, rf"^(?:both|(?:the )?(?:left|right)) {LIMBS}$|^(?:the )?(?:left|right)$"),
    (CHANGE, r"^(?:once|twice|thrice|(?:\w+|\d+) times)(?:,|$)"),
    (CHANGE, r"^(?:first|(?:start|begin)(?: by| with)?)\b(?!.*\bthen\b)|\bfirst$"),
    (CHANGE, r"\b(?:at the (?:start|beginning)|before (?:that|it))\b"),
    (CHANGE, r"\b(?:first|second|last) (?:action|movement|part|thing)\b"),
    # 5) Changes by a word that compares with the last motion.
    (CHANGE, rf"\b(?:{COMPARED}|(?:more|less) \w+ly)\b"),
    (CHANGE, r"\b(?:instead|once more|one more|one time more|in all|rather than|opposite|not only)\b"),
    (CHANGE, r"(?<!\bup )(?<!\bdown )(?<!\bstand )(?<!\bstanding )(?<!\brise )(?<!\brising )\bagain\b"),
    (CHANGE, rf"\b(?:the|your|his|her) other {LIMBS}\b|\bmore when\b"),
    # 6) What comes next, by its other words.
    (CONTINUATION, rf"^(?:add |and )?(?P<{REST}>.+?),? (?:at the end|in the end|afterwards?|after (?:that|this))$"),
    (CONTINUATION, r"^(?:and|(?:finish|end) (?:by|with)|(?:continue|carry on|go on) (?:and|by|with|to)) "
                   rf"(?P<{REST}>.+)"),
    (CONTINUATION, rf"^(?:continue|carry on|go on|keep|keep on) (?P<{REST}>\w+ing\b.*)"),
)  # fmt: skip
"""(kind, what it looks like), in the order in which they are tried."""

LENGTH_QUESTION = re.compile(
    r"\bhow (?:long|many (?:seconds|frames|codes|tokens))\b|\b(?:length|duration)\b", re.IGNORECASE
)
"""A question that the codes of the motion answer exactly."""

_WHOLE = {sentence: kind for kind, sentences in WHOLE.items() for sentence in sentences}


class Turn(NamedTuple):
    """What somebody said: the kind, and the sentence that goes to the model. None: there is none, as in "go on"."""

    kind: str
    sentence: str | None


def read_turn(text: str, knows: Callable[[str], bool] = lambda text: False) -> Turn:
    """What a sentence asks for.

    `knows` says whether a run knows a sentence as a caption: then it is new, however it looks. Politeness is left out
    of what the model reads ("can you walk forward?" -> "walk forward"), and so is the word that goes on ("then sit
    down" -> "sit down"); those are handed on folded, in lower case. Any other sentence is handed on as it was typed.
    """
    text = text.strip()
    if overruled := PREFIX.fullmatch(text):
        return Turn(PREFIXES[overruled[1].lower()], overruled[2].strip())
    folded = fold(text)
    if folded in _WHOLE:
        return Turn(_WHOLE[folded], None)
    if knows(text):
        return Turn(NEW, text)
    request = POLITE.match(folded)
    plain = POLITE_END.sub("", folded[request.end() :] if request else folded)
    if plain != folded:
        if plain in _WHOLE:
            return Turn(_WHOLE[plain], None)
        text = plain
        if knows(text):
            return Turn(NEW, text)
    elif text.rstrip("\"' )»”’").endswith(("?", "？")):
        return Turn(QUESTION, text)
    for kind, pattern in RULES:
        if found := re.search(pattern, plain):  # `re` keeps what it has compiled; only conversations need it
            return Turn(kind, found[REST] if REST in found.re.groupindex else text)
    return Turn(NEW, text)
