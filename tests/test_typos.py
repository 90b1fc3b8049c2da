"""Close typing errors, and what must not pass for one."""

from cases import for_each

from motiongpt.generation.typos import correct, edits, english

KNOWN = (
    "a person walks forward the right hand left waves springs slowly twice jumps jumping jump march counterclockwise "
    "without three does not turns raises both arms circle crouches stretches kicks squat squats balances marches steps"
).split()


@for_each(
    "typed, meant",
    [
        ("a person wlaks forwrd slowly", "a person walks forward slowly"),
        ("jmups", "jumps"),
        ("kiks", "kicks"),
        ("jumpping", "jumping"),
        ("squatt", "squat"),
        ("wavs", "waves"),
        ("crouchse in a cirlce", "crouches in a circle"),
        ("balenses", "balances"),
        ("raises both amrs", "raises both arms"),
        # another word of English is no typing error
        ("he spins", "he spins"),
        ("stops", "stops"),
        ("scratches", "scratches"),
        ("matches", "matches"),
        ("talks and saves", "talks and saves"),
        ("sings", "sings"),
        # nor is what is short, far off, or close to two words
        ("hnad", "hand"),
        ("hnd", "hnd"),
        ("wks", "wks"),
        ("jjumpss", "jumps"),
        ("jjjumpsss", "jjjumpsss"),
        ("xalks", "xalks"),
        # sides, numbers and negations stay
        ("rigth lfet", "rigth lfet"),
        ("twcie thre", "twcie thre"),
        ("withuot", "withuot"),
        ("counterclokwise", "counterclokwise"),
        ("doesn't jmup", "doesn't jump"),
        ("dosen't", "dosen't"),
    ],
)
def test_corrections(typed, meant):
    text, changed = correct(typed, KNOWN)
    assert text == meant
    assert dict(changed) == {a: b for a, b in zip(typed.split(), meant.split(), strict=True) if a != b}
    assert correct(text, KNOWN) == (text, ())


@for_each("typed", "torn wove though plods swaggers else against whose swam more".split())
def test_irregular_and_small_words_are_no_typing_errors(typed):
    near = "turn wave through plops staggers ease again whole sway move".split()
    assert correct(typed, near) == (typed, ())
    assert any(edits(typed, other) <= 2 for other in near)


def test_a_misspelt_word_of_training_is_no_target():
    assert correct("he waljss", ("walks", "waljs")) == ("he waljss", ())
    assert correct("he forwrrd", ("forward", "forwrd")) == ("he forward", (("forwrrd", "forward"),))


@for_each(
    "one, other, count",
    [
        ("walk", "walk", 0),
        ("wlak", "walk", 1),
        ("walk", "walks", 1),
        ("walk", "talks", 2),
        ("", "ab", 2),
        ("ca", "abc", 3),
    ],
)
def test_edits(one, other, count):
    assert edits(one, other) == edits(other, one) == count


def test_english_words_have_their_forms():
    assert {"spins", "spinning", "carries", "danced", "dancing", "stopping", "slowly", "matches"} <= english()
