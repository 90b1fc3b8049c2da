"""Who does it, in what mood, how fast and where: the words around the verbs of the embedded sentences.

Moods and tempo words are said only of clips made so. The rest says nothing about the motion: names,
jobs, clothes and places are there so that a reader learns to pass over words it does not know. No
word of theirs names a side, a number, an order, a tempo or a mood.
"""

from typing import NamedTuple

import numpy as np


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


class Subject(NamedTuple):
    """Who does it, and the words that agree: "the soldier" walks ("finite"), raises "his" arm; "he" waves;
    make "him" jump."""

    text: str
    form: str = "finite"  # of the verb: finite, plural or first
    pronoun: str = "they"
    possessive: str = "their"
    object: str = "them"


_PEOPLE = {"they": ("their", "them"), "he": ("his", "him"), "she": ("her", "her"), "it": ("its", "it")}
PRONOUNS = (
    *(Subject(word, "plural" if word == "they" else "finite", word, *rest) for word, rest in _PEOPLE.items()),
    Subject("i", "first", "i", "my", "me"),
    Subject("you", "plural", "you", "your", "you"),
    Subject("we", "plural", "we", "our", "us"),
)
_PRONOUN_WEIGHTS = (0.15, 0.3, 0.26, 0.04, 0.15, 0.06, 0.04)
NOBODY = Subject("", pronoun="you", possessive="your", object="you")  # of an order

_HIS = _list(
    "man|guy|boy|gentleman|fellow|lad|dude|waiter|policeman|father|dad|brother|uncle|grandson|son|nephew|king|monk|"
    "knight|cowboy|fisherman|postman|fireman|groom|husband|actor|wizard|prince|sailor|boxer"
)
_HER = _list(
    "woman|girl|lady|mother|mom|sister|aunt|niece|daughter|queen|nun|bride|wife|waitress|actress|princess|ballerina|"
    "witch|policewoman|businesswoman"
)
_THEIR = _list(
    "person|kid|child|teenager|student|teacher|soldier|dancer|athlete|player|doctor|nurse|lawyer|accountant|plumber|"
    "farmer|baker|butcher|gardener|carpenter|engineer|scientist|programmer|astronaut|pilot|singer|drummer|violinist|"
    "painter|sculptor|chef|cook|tailor|barber|clerk|librarian|journalist|photographer|clown|magician|juggler|acrobat|"
    "gymnast|runner|swimmer|golfer|goalkeeper|referee|coach|climber|surfer|skater|cyclist|hiker|tourist|traveller|"
    "visitor|guest|neighbour|neighbor|colleague|friend|cousin|boss|customer|shopkeeper|mechanic|electrician|miner|"
    "lumberjack|shepherd|judge|mayor|president|minister|priest|pirate|viking|samurai|alien|vampire|superhero|hero|"
    "guard|officer|detective|firefighter|paramedic|dentist|vet|zookeeper|toddler|pupil|intern|apprentice|candidate|"
    "contestant|actor|extra|model|performer|trainer|patient|passenger|commuter|pedestrian|volunteer|participant|human|"
    "human being|adult|youngster|stranger|villager|citizen|hobbit|wrestler|mime|ghost"
)
_ITS = _list("robot|figure|character|avatar|puppet|android|stick figure|skeleton|mannequin|cyborg|bear|elf")
ROLES = {"he": _HIS, "she": _HER, "they": _THEIR, "it": _ITS}
NAMES = {
    "he": _list(
        "john|tom|bob|peter|ali|carlos|hans|ivan|kenji|omar|luigi|ben|max|paul|raj|sven|ahmed|jim|david|mehmet|zorblax|"
        "grandmaster flex|mister bean|doctor who"
    ),
    "she": _list(
        "maria|anna|lucy|sarah|emma|fatima|ingrid|yuki|olga|priya|julia|carmen|mia|zoe|aisha|lena|nora|mrs smith|elif|"
        "chiara|wendy|ms novak"
    ),
    "they": _list("alex|sam|kim|robin|charlie|jo|sasha|quinn|my friend alex|xantippe"),
    "it": _list("r2d2|wall-e|robbie the robot|blorp|the thing|zog"),
}
ADJECTIVES = _list(
    "tall|young|slim|thin|skinny|blond|bearded|barefoot|masked|bald|strong|muscular|middle-aged|well-dressed|"
    "famous|local|german|brazilian|japanese|french|unknown|curly-haired|red-haired|blue|green|striped|"
    "virtual|invisible|ordinary|random|certain|lone|polite|clever|average|handsome|pretty|fictional"
)
LOOKS = _list(
    "in a coat|in a red shirt|in jeans|in a suit|in a white dress|in sports clothes|in a hat|in black|in uniform|"
    "in a raincoat|in pyjamas|in a green jacket|wearing a hat|wearing glasses|wearing a backpack|wearing sneakers|"
    "wearing a blue t-shirt|with a beard|with glasses|with dark hair|with a ponytail|with a scarf|with a name tag|"
    "with sunglasses|from spain|from next door|from accounting|named pat|called robin"
)
SCENERY = _list(
    "in the park|on a sunny day|at home|in the yard|for the camera|as usual|in front of a mirror|in the kitchen|today|"
    "in the garden|at the beach|on the beach|at work|in the office|in the gym|at the gym|at school|in the classroom|"
    "in the street|on the street|on stage|in the rain|in the snow|in the morning|in the evening|at night|at noon|"
    "this morning|on sunday|in winter|in the forest|in the hallway|in the living room|in an empty room|"
    "in the lab|in the studio|in a video game|in a movie|on the moon|under a tree|next to a car|near the window|"
    "by the river|at the station|at a party|during the break|during a meeting|at the museum|in the city|in paris|"
    "on the lawn|on the carpet|on the sidewalk|in a hall|in the hotel lobby|with music on|for fun|for exercise|"
    "as an exercise|for the audience|for the children|in public|all alone|outside|outdoors|indoors|at the moment|"
    "as part of the show|during the lesson|on television|in the airport|at the market|without shoes|for no reason|"
    "under the bright lights|at the dentist's|for a friend|with the radio playing|in a dream"
)
OPENINGS = _list(
    "on a sunny day|today|this morning|in the park|at home|in the gym|on stage|at a party|all of a sudden|suddenly|"
    "at noon|in the evening|in this scene|in the video|in this clip|here|in front of a mirror|during the break|"
    "as usual|for the camera|on command|at the beach|in the kitchen|in the rain|this time"
)
FILLERS = _list("simply|just|suddenly|smoothly|properly|deliberately|nicely|gracefully|silently|clearly|carefully")
THINGS = _list(
    "banana|lamp|suitcase|piano|fridge|teapot|tractor|bicycle|statue|fountain|umbrella|giraffe|penguin|cactus|bookcase|"
    "spaceship|blorf|quibble|zunk|wardrobe|barrel|laptop|trombone|samovar"
)

TEMPOS = {
    "slow": _list(
        "slowly|very slowly|really slowly|at a slow pace|in slow motion|unhurriedly|without hurrying|"
        "without haste|at a snail's pace|leisurely|at a leisurely pace|at a gentle pace|as slowly as possible|"
        "in no hurry|rather slowly|with slow movements|taking {the} time|ever so slowly|slow"
    ),
    "quick": _list(
        "quickly|fast|very fast|really fast|very quickly|rapidly|swiftly|in a hurry|hurriedly|at high speed|"
        "at full speed|at a fast pace|as fast as possible|as fast as {pronoun} can|in a rush|hastily|speedily|"
        "with quick movements|at a brisk pace|at a rapid pace|rather quickly|with great speed|super fast|like lightning"
    ),
}


class Mood(NamedTuple):
    """What is said of a mood. {the} is a possessive."""

    adjectives: tuple[str, ...]
    adverbs: tuple[str, ...]
    clauses: tuple[str, ...]
    nouns: tuple[str, ...] = ()  # people who are so by themselves, behind their pronoun


MOODS = {
    name: Mood(*map(_list, lists))
    for name, lists in {
        "happy": (
            "happy|cheerful|joyful|merry|delighted|very happy|glad|smiling|overjoyed|jolly",
            "happily|cheerfully|joyfully|merrily|gladly|gleefully",
            "in a good mood|full of joy|with a spring in {the} step|looking happy|with a smile|in a happy way|"
            "beaming with joy|in a happy mood|in a cheerful way|feeling great|as happy as can be",
        ),
        "sad": (
            "sad|unhappy|gloomy|depressed|heartbroken|very sad|miserable|sorrowful|crying|downcast",
            "sadly|gloomily|mournfully|miserably|unhappily|dejectedly",
            "in a sad mood|looking sad|full of sorrow|in a sad way|with a heavy heart|feeling down|close to tears|"
            "feeling sad|looking depressed|in a gloomy mood",
        ),
        "tired": (
            "tired|exhausted|weary|sleepy|worn-out|very tired|drowsy|fatigued|half-asleep",
            "tiredly|wearily|sleepily|sluggishly|drowsily",
            "looking tired|in a tired way|with no energy|half asleep|with {the} last strength|feeling exhausted|"
            "like somebody who needs sleep|looking exhausted|feeling very tired|out of energy",
        ),
        "old": (
            "old|elderly|very old|aged|frail|ancient|grey-haired old",
            "feebly|frailly|stiffly",
            "like an old man|like an old woman|like an old person|like an elderly person|like a grandfather|"
            "like somebody very old|like a pensioner|like grandma|looking old|with an aching back",
            "she my grandmother|he my grandfather|he grandpa|she grandma|she granny|they a pensioner|she an old lady|"
            "he an old fellow|they a senior|she my great-grandmother|he an old man|she an old woman",
        ),
        "angry": (
            "angry|furious|mad|annoyed|very angry|grumpy|enraged|irritated|raging",
            "angrily|furiously|irritably|grumpily|crossly",
            "in an angry mood|looking angry|full of anger|in a rage|in an angry way|fuming with anger|in a bad temper|"
            "as if furious|with clenched fists|feeling angry",
        ),
        "proud": (
            "proud|confident|self-confident|very proud|self-assured|arrogant|cocky|boastful",
            "proudly|confidently|haughtily|arrogantly",
            "looking proud|with pride|full of pride|with {the} chest out|in a proud way|full of confidence|"
            "like a winner|like a champion|with {the} nose in the air|feeling proud",
        ),
        "sneaky": (
            "sneaky|stealthy|secretive|sly|very sneaky|furtive",
            "sneakily|stealthily|secretly|furtively|slyly",
            "in a sneaky way|like a thief|like a burglar|like a ninja|trying not to be seen|without being noticed|"
            "like a spy|in secret|looking sneaky|as if nobody should notice",
            "they a thief|he a burglar|she a spy|they a ninja|they a sneaky thief",
        ),
        "relaxed": (
            "relaxed|calm|laid-back|easygoing|carefree|very relaxed|chilled|peaceful|cool",
            "calmly|casually|relaxedly|peacefully|coolly",
            "in a relaxed way|looking relaxed|without a care|in a calm way|in a casual way|without any stress|"
            "like somebody on holiday|feeling relaxed|in a relaxed mood",
        ),
        "nervous": (
            "nervous|anxious|worried|jittery|scared|frightened|very nervous|insecure|tense|shy",
            "nervously|anxiously|fearfully|timidly|shyly",
            "looking nervous|in a nervous way|full of fear|as if afraid|like somebody who is afraid|feeling anxious|"
            "with shaky nerves|looking scared|as nervous as can be|in a nervous mood",
        ),
        "energetic": (
            "energetic|lively|hyperactive|very energetic|dynamic|peppy|vigorous|spirited|excited",
            "energetically|vigorously|dynamically|excitedly|enthusiastically",
            "full of energy|with lots of energy|with a lot of energy|with great energy|in an energetic way|"
            "bursting with energy|with vigour|with enthusiasm|looking energetic|like somebody full of beans",
        ),
    }.items()
}


def pick(rng: np.random.Generator, items: tuple):
    """One of the items, each equally likely."""
    return items[int(rng.random() * len(items))]


def with_article(noun: str, article: str) -> str:
    """'an old man' and 'a unicorn': "a" becomes "an" before a vowel that is heard."""
    heard = noun[0] in "aeiou" and not noun.startswith(("uni", "eu", "one-"))
    return f"{article}n {noun}" if article == "a" and heard else f"{article} {noun}"


def _noise(rng: np.random.Generator) -> str:
    """A word that nobody knows."""
    return "".join(pick(rng, "bcdfgklmnprstvz") + pick(rng, "aeiou") for _ in range(int(rng.integers(2, 4))))


def _noun(rng: np.random.Generator) -> tuple[str, str]:
    """A noun for somebody and its pronoun. Half of them are the commonest."""
    if rng.random() < 0.5:
        return pick(rng, (("person", "they"), ("person", "they"), ("man", "he"), ("woman", "she"), ("person", "they")))
    pronoun = ("he", "she", "they", "they", "they", "it")[int(rng.random() * 6)]
    noun = _noise(rng) if rng.random() < 0.02 else pick(rng, ROLES[pronoun])
    if pronoun == "they" and rng.random() < 0.4:
        pronoun = ("he", "she")[int(rng.random() * 2)]
    return noun, pronoun


def draw_subject(rng: np.random.Generator, kind: str, mood: str | None) -> tuple[Subject, bool]:
    """Somebody, and whether the words say the mood. `kind`: "any", "indefinite" ("a man", "someone") or
    "third" (no I, you, we).

    Of a clip with a mood, half of the subjects that can say it do.
    """
    draw = rng.random()
    if kind != "indefinite" and draw < 0.2:
        return PRONOUNS[_drawn(rng, _PRONOUN_WEIGHTS if kind == "any" else _PRONOUN_WEIGHTS[:4])], False
    if kind != "indefinite" and draw < 0.28:
        pronoun = ("he", "she", "they", "it")[int(rng.random() ** 1.5 * 4)]
        possessive, them = _PEOPLE[pronoun]
        name = _noise(rng) if rng.random() < 0.05 else pick(rng, NAMES[pronoun])
        return Subject(name, "finite", pronoun, possessive, them), False
    told = mood is not None and rng.random() < 0.55
    if draw > 0.93 and not told:
        return Subject(pick(rng, ("someone", "somebody"))), False
    if told and MOODS[mood].nouns and rng.random() < 0.2:
        pronoun, _, noun = pick(rng, MOODS[mood].nouns).partition(" ")
        # those of the family have no article
        if kind != "indefinite" or noun.startswith("a"):
            return Subject(noun, "finite", pronoun, *_PEOPLE[pronoun]), True
    noun, pronoun = _noun(rng)
    if told:
        noun = f"{pick(rng, MOODS[mood].adjectives)} {noun}"
    elif rng.random() < 0.1:
        noun = f"{pick(rng, ADJECTIVES)} {noun}"
    if rng.random() < 0.06:
        noun = f"{noun} {pick(rng, LOOKS)}"
    article = "a" if kind == "indefinite" or rng.random() < 0.6 else "my" if rng.random() < 0.08 else "the"
    return Subject(with_article(noun, article), "finite", pronoun, *_PEOPLE[pronoun]), told


def _drawn(rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    return int(rng.choice(len(weights), p=np.array(weights) / sum(weights)))


def extra(rng: np.random.Generator) -> str:
    """Words behind a sentence that say nothing about the motion: 'in the park', 'next to a giraffe'."""
    draw = rng.random()
    if draw < 0.75:
        return pick(rng, SCENERY)
    if draw < 0.9:
        thing = _noise(rng) if rng.random() < 0.2 else pick(rng, THINGS)
        place = pick(rng, ("next to", "near", "beside", "by", "in front of"))
        return f"{place} {with_article(thing, pick(rng, ('a', 'the')))}"
    return f"for {pick(rng, NAMES[pick(rng, ('he', 'she', 'they'))])}"
