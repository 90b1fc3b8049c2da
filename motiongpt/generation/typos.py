"""Close typing errors: "wlaks forwrd" -> "walks forward", and nothing else.

A word is changed only towards a word of the training captions, by one letter in four to six and by two from seven on,
and only if it begins as that word does. It stays if it is a word of training, if it is a word of English ("steps" is no
"stops"), and if two words of training are equally close. Sides, numbers and negations are never touched, neither as
what was typed nor as what was meant: a wrong side is worse than an unknown word.
"""

import re
from collections.abc import Collection
from functools import cache, lru_cache

from motiongpt.data.words import EMPTY, NEGATION, NUMBER_WORDS, SIDES, stem

WORD = re.compile(r"[^\W\d_]+")
DOUBLES = re.compile("[^aeiou][aeiou][^aeiouwxy]$")  # stop, stopping
ONE_FROM, TWO_FROM = 4, 7  # letters of a word from which one and two errors are believed

ENGLISH = """
able about above accept across action actor address admit adult advance afraid after again against agree alive allow
almost alone along already also although always amble among angel anger angle ankle announce another answer anybody
anyone anything anywhere apart appear applaud apple apply approach arch area argue armor army arose around arrange
arrive arrow artist aside asleep attach attack attend aunt autumn awake aware away awkward awoke baby back backflip
badge bake balance bald ball band bang bank barn base bash basket bath bathe battle beach beam bean bear beard beat
beaten beauty became because become bed been beer before beg began begin begun behave behind being belief bell belly
belong below belt bench bend beneath bent beside best better between beyond bike bill bind bird bite bitten blame
blank blanket blast bled bleed blend bless blew blind blink block blood blow blown blue blunt blush board boast boat
body boil bold bolt bomb bone book boot border born borrow boss both bottle bottom bought bounce bound bow bowl box
boxer brace brain brake branch brave bread break breakdance breath breathe bred breeze brick bride bridge brief bright
bring broad broke broken broom brother brought brown brush bubble bucket build built bulb bull bump bunch burn burnt
burst bury bush busy butter button buy cable cage cake calf call calm came camera camp candle cane cannot canter cape
captain capture car card care careful carpet carry cart cartwheel carve case cash cast castle cat catch caught cause
cave cease ceiling chain chair chalk champion chance change chant charge charm chart chase chat cheap cheat check
cheek cheer cheese chest chew chick chicken chief child chill chin chip chop chose church circus city claim clam clamp
clap clash clasp class claw clay clean clear clench clever click cliff climb cling clip clock close cloth cloud clown
club clumsy clung coach coal coast coat coil coin cold collapse collar collect color comb come comfort command common
cook cool copy cord corner correct cost cotton couch cough could count couple courage court cousin cover cow coward
crack cradle craft cramp crane crash crate crave crawl crazy creak cream creep crept crew crime crisp crook crop cross
crouch crowd crown cruel cruise crumble crumple crunch crush crust cry cup cure curl curse curtain curtsy curve
cushion cut cute cycle daily damage damp dance danger dare dark dart dash date daughter dawn daze dead deaf deal dealt
dear death deck deep deer defend defuse delay deliver demand dense depart desert deserve desk destroy detect dial
diamond dice die diet dig dine dinner dip direct dirt dish disk distance dive divide dizzy dock doctor dodge does dog
doing doll done donkey door dose doubt dough dove down doze drag dragon drain drank drape draw drawn dream dreamt
dress drew dribble drift drill drink drip drive driven drone drop drove drown drum drunk dry duck duel dull dumb dump
during dusk dust duty dwarf each eager eagle ear early earn earth ease east eat eaten echo edge effort egg eight
either elbow elder elect elegant eleven else empty enemy engine enjoy enough enter equal erase escape even evening
ever every everybody everyone everything everywhere evil exact exam except exit expand expect explain explode eye
fable face fact fade fail faint fair fairy faith fake fall fallen false fame family fan fancy farm fast fat fate
father fault favor fear feast feather feed feel fell felt female fence fever field fierce fight figure file fill film
filter final find fine finger finish fire firm fish fist fit fix flag flame flap flare flash flat fled flee fleet
flesh flew flex flick flight fling flip flirt float flock flood floor flour flow flower flown fluid flung flush flute
flutter fly foam focus fog foil fold follow fond food fool force forest forge forget forgot forgotten fork form fort
forth fortune fought foul found fountain fox frail frame free freeze fresh friend frighten frog from front frost frown
froze frozen fruit fry fuel fume funny fur furious fury gain gallop game gang gap garden gasp gate gather gave gaze
gear gentle gesture gets ghost giant gift giggle give given glad glance glare glass gleam glide glimpse globe gloom
glory glove glow glue goal goat gold golf gone good goose grab grace grade grain grand grant grape grasp grass grate
grave graze great greed green greet grew grey grief grill grim grin grind grip groan groom ground group grow growl
grown grunt guard guess guest guide guilt guitar gulp gum gun gust habit hail hair half hall halt hammer hand handle
handstand hang happen harbor hard harm harsh harvest haste hasty hat hatch hate haul haunt have hawk hay head heal
health heap hear heard heart heat heaven heavy heel height held hello helmet help hence herd here hero hers herself
hidden hide high hike hill himself hinge hint hit hobble hoist hold hole holy home honest honey honk honor hood hook
hoop hop hope horn horse hose hospital host hot hotel hour house hover however howl hug huge hum human humble hunch
hung hunger hunt hurdle hurl hurry hurt hush hut ice idea ideal idle image imagine inch indeed inside insist instead
into iron island itch item itself jacket jail jam jar jaw jazz jeans jelly jerk jewel job jog join joke jolly jolt
journey joy judge juggle juice jump jungle junior just keen keep kept kettle key kick kid kill kind king kiss kite
kitten knead knee kneel knelt knew knife knight knit knob knock knot know known label lace lack ladder lady laid lake
lamb lamp land lane lap large lash last late laugh launch lava lawn lay lazy lead leaf lean leant leap leapt learn
learnt leash least leather leave lecture lemon lend length lent less lesson letter level lever lick lid lie life lift
light like limb limit limp line linger link lion lip list listen little live load loaf loan lobby lock lodge log
lonely long look loom loop loose lord lose loss lost loud love low loyal luck lump lunch lung lunge lurch lurk machine
mad made magic maid mail main make male mall manage manner many map marble march mark market marry mask mass mast
master match mate maybe meal mean meant measure meat medal meet melt member mend menu mercy merge merry mess metal
middle might mild mile milk mill mind mine mint minute mirror miss mist mix moan mock mode model modest moment money
monk monkey monster month mood moon moonwalk mop more moreover morning most moth mother motor mountain mouse mouth
move mow much mud multiply murder muscle music must myself nail name nap narrow nation native nature navy near neat
neck need needle neither nephew nerve nest net never new news next nice niece night noble nobody nod node noise none
noon normal north nose note nothing notice novel now numb nurse nut oak oath obey object ocean odd offer office often
oil old once only onto open opera opponent orange orbit order organ other otherwise ought ours ourselves outside oval
oven over owl own pace pack paddle page paid pain paint pair palace pale palm pan panic pant paper parade pardon
parent park parry part partner party pass past paste pat patch path patient pattern pause pave paw pay peace peach
peak pear pearl pebble peck pedal peek peel peer pen pencil perch perform perhaps permit pet phone photo phrase piano
pick picture piece pig pile pill pillow pilot pin pinch pine pink pipe pirate pistol pit pitch pity pivot place plan
plane planet plank plant plate play player plead please pleasure plenty plod plow pluck plug plumber plunge pocket
poem poet point poke polar pole police polish polite pond pony pool poor pop porch port pose post pot potato pouch
pound pour powder power praise pray preach prefer prepare present press pretend pretty prevent price prick pride
priest prince print prison prize probe proceed produce promise prop protect proud prove prowl pull pulse pump punch
punish pupil puppet pure purse push pushup puzzle quake quarrel queen quest quick quiet quit quite rabbit race rack
radio raft rage rail rain raise rake rally ramp ranch rang range rank rapid rare rash rate rather rattle raw reach
react read ready real rear reason receive recite recoil record red reduce refuse regret relax release relief rely
remain remember remove repair repeat reply report rescue rest return reverse reward rhyme rhythm rib ribbon rice rich
ridden ride rifle rig right ring rinse riot rip ripe rise risen risk rival river road roam roar roast rob robe robot
rock rod rode role roll roof room root rope rose rotate rough round route row royal rub rude rug ruin rule rumble run
runner rural rush rust sack sad saddle safe sag said sail saint salad sale salt salute same sample sand sang sank
sauce saunter save saw say scale scamper scan scar scare scarf scatter scene scent school scold scoop score scorn
scout scowl scrap scrape scratch scream screen screw scrub scurry sea seal search season seat second secret see seed
seek seem seen seize self sell send sense sent serious serve settle seven several sew shade shadow shaft shake shaken
shall shallow shame shape share shark sharp shave shed sheep sheet shelf shell shelter shield shift shine ship shirt
shiver shock shoe shone shook shoot shop shore short shot should shoulder shout shove shovel show shower shrank shred
shriek shrimp shrink shrub shrug shudder shuffle shut shy sick side sigh sight sign silent silk silly silver simple
since sing singer sink sip siren sister sit site six size skate skid skill skin skip skirt skull sky slab slack slam
slant slap slash slave slay sled sleep sleeve slender slept slice slick slid slide slight slim sling slip slit slope
slot slow slump slung sly smack small smart smash smell smile smirk smoke smooth snack snail snake snap snare snarl
snatch sneak sneer sneeze sniff snore snow soak soap soar sob soccer social sock sofa soft soil sold soldier solid
solo solve some somebody somehow someone somersault something sometimes somewhere song soon sore sorrow sort sought
soul sound soup sour south spade span spare spark spat speak spear special sped speech speed spell spend spice spider
spike spill spin spine spiral spirit spit splash split spoil spoke spoken spoon sport spot sprang spray spread spring
sprint spun spy squad square squash squat squeak squeeze squint squirm squirrel stab stable stack staff stage stagger
stain stair stake stale stalk stall stamp stand stank star stare start startle starve state station statue stay steady
steak steal steam steel steep steer stem step stern stew stick stiff still sting stir stitch stock stole stolen
stomach stomp stone stood stool stoop stop store storm story stove straddle straight strain strange strap straw stray
stream street stress stretch stride strike string strip stripe strode stroke stroll strong strove struck struggle
strut stuck student study stuff stumble stump stun stung stunt sturdy style submit succeed such suck sudden suffer
sugar suit sulk sum summer summit sun super supper support suppose sure surf surface surge surprise surrender swagger
swallow swam swamp swan swap swarm sway swear sweat sweep sweet swell swept swerve swift swim swing swipe swirl switch
swollen sword swore sworn swum swung symbol table tackle tail tailor take taken tale talent talk tall tame tango tank
tap tape target task taste taught taxi tea teach team tear tease teen tell temper temple tempt ten tend tender tennis
tense tent test text than thank that thaw theater their theirs them themselves then there therefore these they thick
thief thigh thin thing think third thirst this thorn thorough those though thought thread threat three threw thrill
throat throb throne through throughout throw thrown thrust thumb thump thunder thus tick ticket tickle tide tidy tie
tiger tight tile till tilt timber time timid tin tiny tip tiptoe tire tired toast today toe together told tone tongue
took tool tooth top torch tore torn toss total touch tough tour tow toward towards towel tower town toy trace track
trade traffic trail train traitor tramp trap travel tray tread treasure treat tree tremble tremor trench trick trigger
trim trip triumph trod trodden trot trouble trousers truck trudge true trumpet trunk trust truth try tub tube tuck tug
tulip tumble tune tunnel turf turkey turn turtle twelve twerk twin twirl twist type tyre ugly umbrella uncle under
union unit until unto upon upper upset urge use usual vain valley value van vanish vase vast vault veil vein verb
verse very vest victim victory video view vile villa village vine violin virus visit voice void volley volume vote vow
voyage waddle wade wage wagon wail waist wait waiter wake walk walker wall wallet waltz wand wander want war ward warm
warn warp warrior wary wash wasp waste watch water wave wax weak wealth weapon wear weary weather weave web wedding
weed week weep weigh weird well went wept were west wet whale what whatever wheel when whenever where wherever whether
which whichever while whip whirl whisk whisper whistle white whoever whole whom whose wicked wide widow wife wild will
win wind window wine wing wink winter wipe wire wise wish witch with wither within witness wizard wobble woke woken
wolf wonder wood wool word wore work worker world worm worn worry worse worship worst worth would wound wove woven
wrap wreck wrench wrestle wriggle wring wrist write writhe written wrong wrote wrung yard yarn yawn year yell yellow
yesterday yield young yours yourself yourselves youth zebra zero zigzag zombie zone zoo
"""
"""Common words that must not become another word, whatever training has seen, without their endings."""


@cache
def english() -> frozenset[str]:
    """The words of `ENGLISH` and their regular forms."""
    found = set()
    for word in ENGLISH.split():
        if word[-1] == "y" and word[-2:-1] not in "aeiou":
            forms = [word, f"{word}ing"] + [word[:-1] + ending for ending in ("ies", "ied", "ier", "ily")]
        elif word[-1] == "e":
            forms = [word + ending for ending in ("", "s", "d", "r", "rs", "ly")] + [f"{word[:-1]}ing"]
        else:
            endings = ("", "es" if word.endswith(("s", "x", "z", "ch", "sh", "o")) else "s", "ly")
            forms = [word + ending for ending in endings]
            bases = [word, word + word[-1]] if DOUBLES.search(word) else [word]
            forms += [base + more for base in bases for more in ("ed", "ing", "er", "ers", "y")]
        found.update(forms)
    return frozenset(found)


def correct(text: str, known: Collection[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A folded sentence without close typing errors, and each change as (typed, meant).

    `known` are the words of the training captions in lower case, the most frequent first.
    """
    changed: dict[str, str] = {}
    known = dict.fromkeys(known)  # to look them up, in their order
    stems = frozenset(map(stem, known))

    def replace(match: re.Match) -> str:
        word = match[0]
        if match.string[match.end() : match.end() + 2].startswith(("'", "’")):  # "doesn't" is no "does"
            return word
        meant = meant_by(word, known, stems)
        if meant is None:
            return word
        changed[word] = meant
        return meant

    return WORD.sub(replace, text), tuple(changed.items())


def meant_by(word: str, known: Collection[str], stems: Collection[str]) -> str | None:
    """The word of training that a mistyped one stands for; None if it stays. `stems` are those of `known`."""
    if len(word) < ONE_FROM or _is_fixed(word) or word in known or word in english() or word in EMPTY:
        return None
    own = stem(word)
    most = 1 if own in stems or len(word) < TWO_FROM else 2  # "wavs" is a form of "waves", only misspelt
    found: dict[int, list[str]] = {}
    for other in known:
        if len(other) >= ONE_FROM and other[0] == word[0] and abs(len(other) - len(word)) <= most:
            distance = edits(word, other)
            fits = distance <= most and not _is_fixed(other) and (own not in stems or stem(other) == own)
            if fits and not _is_typo(other, known):
                found.setdefault(distance, []).append(other)
    if not found:
        return None
    nearest = found[min(found)]
    # several forms of one word are no doubt, and the first is the most frequent; two words are
    return nearest[0] if len(set(map(stem, nearest))) == 1 else None


def _is_typo(word: str, known: Collection[str]) -> bool:
    """Whether a word of training is itself misspelt, as data may have it on purpose: an error from a commoner word."""
    if word in english():
        return False
    for other in known:
        if other == word:  # all commoner words have passed
            return False
        if other[0] == word[0] and abs(len(other) - len(word)) <= 1 and stem(other) != stem(word):
            if len(other) >= ONE_FROM and edits(word, other) == 1:
                return True
    return False


def _is_fixed(word: str) -> bool:
    """Whether a word is a side, a number or a negation."""
    sided = word.startswith(("left", "right")) or word.endswith(("left", "right"))
    return sided or word in SIDES or word in NUMBER_WORDS or NEGATION.fullmatch(word) is not None


@lru_cache(maxsize=1 << 16)  # a word typed twice; a long conversation must not fill the memory
def edits(one: str, other: str) -> int:
    """How many letters are wrong, missing, too many, or exchanged with the next: "wlak", "walk" -> 1."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before = before, row
        row = [i]
        for j, target in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != target))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == target:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
