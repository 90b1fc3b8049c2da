"""Sentences for the embedded dataset: a small grammar from an action and its facts to English captions.

    caption = subject + verb phrase {then verb phrase}
    verb phrase = [manner] phrase [count] [manner]

The first caption of a clip is always the plainest one ("a person waves the right hand"); the others vary subject,
phrase, form ("waves", "is waving") and the place of the adverb. A caption never says anything that is not true of the
clip: `{side}` is the clip's side, a count is said whenever something is repeated (and "once" only where it is one),
slow and quick are said only of clips that were made so. What it does not know: grammar beyond these sentences.
"""

import numpy as np

SUBJECTS = {
    "a person": (0.5, "their"),
    "someone": (0.12, "their"),
    "a man": (0.1, "his"),
    "a woman": (0.1, "her"),
    "the person": (0.08, "their"),
    "the figure": (0.04, "its"),
    "the man": (0.03, "his"),
    "the woman": (0.03, "her"),
}

# the first phrase is the plain one; {the} is an article or a possessive
PHRASES = {
    "walk_forward": "walks forward|walks straight ahead|walks ahead|takes a few steps forward|moves forward on foot|"
    "goes forward on foot|walks in a straight line|steps forward several times|walks",
    "walk_backward": "walks backward|walks backwards|takes a few steps back|steps backward several times|"
    "moves backward|backs up|goes backward on foot|walks back without turning around",
    "walk_circle": "walks in a circle to the {side}|walks in a {wise} circle|walks around in a circle turning {side}|"
    "makes a circle to the {side}|walks a circle {wise}|goes around in a circle to the {side}|"
    "walks a loop to the {side}|walks around {wise}",
    "walk_sideways": "walks sideways to the {side}|sidesteps to the {side}|steps sideways to the {side}|"
    "moves sideways to the {side}|takes side steps to the {side}|shuffles to the {side}|"
    "takes a few steps to the {side}|goes sideways to the {side}",
    "run": "runs forward|runs|runs straight ahead|jogs forward|runs along|goes running|runs ahead|"
    "runs in a straight line",
    "jog_in_place": "jogs in place|jogs on the spot|runs in place|runs on the spot|does a jog in place|"
    "jogs without moving forward|trots on the spot|keeps jogging in place",
    "march_in_place": "marches in place|marches on the spot|walks in place|steps in place|lifts {the} knees in turn|"
    "does high steps in place|marches without moving forward|walks on the spot",
    "turn": "turns {side}|turns to the {side}|makes a {side} turn|turns ninety degrees to the {side}|"
    "rotates to the {side}|makes a quarter turn to the {side}|turns {the} body to the {side}|"
    "steps around to the {side}",
    "turn_around": "turns around|turns all the way around|turns to face the other way|makes a half turn|turns back|"
    "makes an about-face|rotates to face backward|turns to the opposite direction",
    "jump": "jumps|jumps up|jumps in place|leaps up|does a jump|jumps into the air|makes a jump|springs up",
    "jump_forward": "jumps forward|leaps forward|does a forward jump|makes a jump forward|jumps ahead|"
    "hops forward with both feet|springs forward|does a broad jump",
    "hop": "hops on the {side} leg|hops on {the} {side} foot|jumps on {the} {side} leg|"
    "bounces on the {side} leg|does hops on the {side} foot|hops using only the {side} leg|"
    "jumps on {the} {side} foot only|keeps hopping on the {side} leg",
    "squat": "squats|squats down and stands up|does a squat|bends {the} knees into a squat|"
    "crouches down and gets up|goes into a squat and comes up|lowers into a squat and rises|"
    "does a deep knee bend",
    "sit_down": "sits down|takes a seat|sits on a chair|sits down on a chair|lowers into a seat|goes to sit|sits|"
    "gets seated",
    "stand_up": "stands up|gets up from a chair|rises from a seat|stands up from sitting|gets up|rises to {the} feet|"
    "stands up from a chair|gets up from sitting",
    "sit_and_stand": "sits down and stands up|sits down and gets back up|takes a seat and rises again|"
    "sits on a chair and stands up again|sits briefly and stands up|sits and gets up again|"
    "sits down and stands back up|takes a seat and stands up",
    "bow": "bows|takes a bow|bows forward|makes a bow|bends forward in a bow|gives a bow|bows politely|"
    "bends at the waist to bow",
    "kneel": "kneels on the {side} knee|kneels down on {the} {side} knee|goes down on the {side} knee|"
    "gets down on {the} {side} knee|lowers onto the {side} knee|drops to the {side} knee|"
    "takes a knee on the {side}|puts {the} {side} knee on the floor",
    "kneel_and_rise": "kneels on the {side} knee and stands up|kneels down on {the} {side} knee and gets up|"
    "goes down on the {side} knee and rises|gets down on {the} {side} knee and stands again|"
    "lowers onto the {side} knee and gets back up|drops to the {side} knee and gets up again|"
    "takes a knee on the {side} and rises|puts {the} {side} knee on the floor and gets back up",
    "kick": "kicks with the {side} leg|kicks with {the} {side} foot|kicks {the} {side} leg forward|"
    "does a {side} kick|makes a kick with the {side} foot|swings {the} {side} leg into a kick|"
    "kicks forward with the {side} leg|gives a kick with the {side} leg",
    "lunge": "lunges with the {side} leg|does a lunge with the {side} leg|steps into a lunge with the {side} foot|"
    "lunges forward on {the} {side} leg|makes a lunge with {the} {side} leg|"
    "steps deep into a lunge with the {side} leg|goes into a {side} lunge|"
    "does a {side} lunge",
    "wave": "waves the {side} hand|waves with {the} {side} hand|waves {the} {side} hand|"
    "raises {the} {side} hand and waves|waves hello with the {side} hand|"
    "gives a wave with the {side} hand|waves {the} {side} arm|greets with a wave of the {side} hand|"
    "waves goodbye with {the} {side} hand",
    "punch": "punches with the {side} hand|throws a {side} punch|punches with {the} {side} fist|"
    "makes a punch with the {side} arm|punches forward with {the} {side} hand|"
    "strikes with the {side} fist|throws a punch with the {side} hand|does a {side} jab",
    "raise_arm": "raises the {side} arm|raises {the} {side} hand|lifts the {side} arm|lifts {the} {side} arm up|"
    "puts {the} {side} hand up|holds up {the} {side} arm|reaches up with the {side} hand|"
    "raises {the} {side} arm overhead",
    "raise_both_arms": "raises both arms|raises both hands|lifts both arms|lifts {the} arms up|puts both hands up|"
    "holds up both arms|reaches up with both hands|raises {the} arms overhead",
    "clap": "claps|claps {the} hands|claps both hands|does a clap|claps with both hands|applauds|"
    "puts {the} hands together to clap|claps in front of the chest",
    "stretch": "stretches|stretches {the} arms|stretches upward|does a stretch|stretches both arms overhead|"
    "stretches {the} whole body|reaches up to stretch|takes a long stretch",
    "throw": "throws something with the {side} hand|throws a ball with {the} {side} hand|"
    "throws with the {side} arm|throws an object with {the} {side} arm|"
    "makes a throw with the {side} hand|pitches a ball with the {side} hand|"
    "tosses something with {the} {side} hand|does a {side} throw",
    "pick_up": "picks something up with the {side} hand|picks up an object with {the} {side} hand|"
    "bends down to pick something up with the {side} hand|"
    "reaches down with the {side} hand and picks something up|"
    "picks something up off the floor with {the} {side} hand|"
    "grabs something from the ground with the {side} hand|"
    "takes something from the floor with the {side} hand|"
    "lifts something off the floor with {the} {side} hand",
    "pick_up_both": "picks something up|picks something up with both hands|picks up a box|"
    "bends down to pick something up|picks something up off the floor|lifts something off the floor|"
    "takes something from the ground|reaches down and picks something up",
    "point": "points forward with the {side} hand|points ahead with {the} {side} hand|points with the {side} arm|"
    "points at something with the {side} hand|holds {the} {side} arm out and points|"
    "stretches {the} {side} arm forward to point|points straight ahead with the {side} arm|"
    "gestures ahead with {the} {side} arm",
    "balance": "balances on the {side} leg|stands on the {side} leg|balances on {the} {side} foot|"
    "stands on only the {side} leg|keeps balance on the {side} leg|"
    "stands on {the} {side} foot with both arms out|lifts the {other} leg and balances|"
    "raises the {other} knee and holds it",
    "hands_on_hips": "puts both hands on the hips|puts {the} hands on {the} hips|places {the} hands on the hips|"
    "rests both hands on the hips|stands with hands on hips|holds {the} hips with both hands|"
    "sets {the} hands on {the} waist|puts both hands on the waist",
    "nod": "nods|nods {the} head|does a nod|nods in agreement|nods yes|moves {the} head up and down|gives a nod|"
    "bobs {the} head",
    "shake_head": "shakes the head|shakes {the} head|shakes {the} head no|moves {the} head from side to side|"
    "turns {the} head left and right|shakes {the} head in disagreement|gives a shake of the head|"
    "swings {the} head from side to side",
    "jumping_jacks": "does jumping jacks|does star jumps|performs jumping jacks|makes jumping jacks|"
    "jumps with arms and legs apart|exercises with jumping jacks|performs star jumps|"
    "does some jumping jacks",
}
PHRASES = {name: tuple(text.split("|")) for name, text in PHRASES.items()}

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_SOMETIMES = {"clap": 0.7, "nod": 0.6, "shake_head": 0.6, "hop": 0.75, "jumping_jacks": 0.6}  # share that counts
_UNCOUNTED = {"sit_and_stand"}
_MANNERS = {
    "slow": (("slowly", 0.75), ("at a slow pace", 0.15), ("unhurriedly", 0.1)),
    "quick": (("quickly", 0.75), ("fast", 0.15), ("rapidly", 0.1)),
}
_DOUBLED = {"run", "jog", "hop", "squat", "sit", "get", "clap", "bob", "nod", "drop", "trot", "step", "grab", "put"}
_DOUBLED |= {"set"}
_BASES = {"goes": "go", "does": "do", "stretches": "stretch", "marches": "march", "punches": "punch"}
_BASES |= {"pitches": "pitch", "tosses": "toss", "reaches": "reach", "crouches": "crouch", "nods": "nod"}
_SILENT_E = {"makes", "takes", "moves", "rotates", "raises", "waves", "strikes", "rises", "gives", "shakes", "balances"}
_SILENT_E |= {"places", "exercises", "lunges", "bounces", "shuffles", "gestures"}


def gerund(verb: str) -> str:
    """'walks' -> 'walking', 'runs' -> 'running', 'makes' -> 'making'."""
    if verb in _SILENT_E:
        return verb[:-2] + "ing"
    base = _BASES.get(verb, verb[:-1])
    return base + (base[-1] if base in _DOUBLED else "") + "ing"


def family(action: str) -> str:
    """The phrase list of an action: its name without the side; both hands of `pick_up` have their own."""
    if action == "pick_up":
        return "pick_up_both"
    return action.removesuffix("_left").removesuffix("_right")


def _progressive(phrase: str) -> str:
    verb, _, rest = phrase.partition(" ")
    head, conjunction, tail = rest.partition(" and ")
    if conjunction and tail.split(" ")[0].endswith("s") and not tail.startswith(("arms", "legs", "hands")):
        second, _, after = tail.partition(" ")
        tail = f"{gerund(second)} {after}".rstrip()
    return f"{gerund(verb)} {head}{conjunction}{tail}".rstrip()


def verb_phrase(
    action: str, facts: dict, rng: np.random.Generator | None, possessive: str = "the", is_doing: bool = False
) -> str:
    """One verb phrase for an action: 'waves the right hand', 'jumps up twice quickly'; plain where rng is None.

    facts may hold `side` ("left", "right"), `count` (repetitions) and `tempo` ("slow", "normal", "quick").
    """
    name = family(action)
    side = facts.get("side", "")
    phrase = PHRASES[name][0] if rng is None else str(rng.choice(PHRASES[name]))
    article = "the" if rng is None or rng.random() < 0.4 else possessive
    wise = "counterclockwise" if side == "left" else "clockwise"
    other = "right" if side == "left" else "left"
    phrase = phrase.format(side=side, other=other, the=article, wise=wise)
    if is_doing:
        phrase = _progressive(phrase)

    count, times = facts.get("count"), ""
    if count is not None and name not in _UNCOUNTED:
        if count > 1 and (rng is None or rng.random() < _SOMETIMES.get(name, 1.0)):
            times = " twice" if count == 2 and (rng is None or rng.random() < 0.8) else f" {_NUMBERS[count]} times"
        elif count == 1 and rng is not None and rng.random() < 0.1:
            times = " once"
    tempo = facts.get("tempo", "normal")
    if tempo == "normal":
        return phrase + times
    words, weights = zip(*_MANNERS[tempo], strict=True)
    manner = words[0] if rng is None else str(rng.choice(words, p=weights))
    if rng is not None and rng.random() < 0.15:
        return phrase + times  # not everything true is said
    if rng is not None and manner.endswith("ly") and rng.random() < 0.4:
        return f"{manner} {phrase}{times}"
    return f"{phrase}{times} {manner}"


def write_captions(parts: list[tuple[str, dict]], rng: np.random.Generator, count: int = 4) -> list[str]:
    """`count` different captions for actions that follow each other: [(action name, facts), ...]."""
    captions = ["a person " + " then ".join(verb_phrase(action, facts, None) for action, facts in parts)]
    names, entries = list(SUBJECTS), list(SUBJECTS.values())
    weights = [weight for weight, _ in entries]
    while len(captions) < count:
        index = int(rng.choice(len(names), p=weights))
        is_doing = bool(rng.random() < 0.2) and len(parts) == 1
        phrases = [verb_phrase(action, facts, rng, entries[index][1], is_doing) for action, facts in parts]
        link = str(rng.choice([" then ", " and then ", ", then ", " and "], p=[0.4, 0.35, 0.15, 0.1]))
        caption = f"{names[index]} {'is ' if is_doing else ''}{link.join(phrases)}"
        if caption not in captions:
            captions.append(caption)
    return captions
