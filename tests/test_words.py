"""Words of captions: stems for comparing, and actions by frequency."""

from cases import for_each

from motiongpt.data.words import actions, content_words, stem, stems, words


@for_each(
    "forms",
    ["walk walks walking walked", "wave waves waving waved", "sit sits sitting", "carry carries carried carrying",
     "pass passes passing passed", "jog jogs jogging", "lunge lunges lunging", "punch punches punching", "Turn TURNS"],
)  # fmt: skip
def test_forms_of_a_word_have_one_stem(forms):
    assert len({stem(word) for word in forms.split()}) == 1


def test_other_words_keep_their_own_stem():
    words = "walk wave sit ring bring sing king red bed bus us go turn run jump left right".split()
    assert len({stem(word) for word in words}) == len(words)


def test_content_words_leave_out_who_does_it():
    assert content_words("A person is walking, then waves the LEFT hand 2 times!") == [
        "walking", "waves", "left", "hand", "times",
    ]  # fmt: skip
    assert content_words("the person and he") == content_words("🤸 42") == []
    assert content_words("人が歩く") == ["人が歩く"]


def test_words_leave_out_what_stands_between_them():
    assert words("Somebody claps! (2x) left-hand, it's_so") == "somebody claps 2x left hand it s so".split()
    assert words("🤸 ...") == [] and words("人が歩く。") == ["人が歩く"]


def test_actions_are_counted_over_their_forms_and_shown_in_the_commonest():
    captions = ["a man walks", "he walks on", "she is walking", "someone waves", "he slowly waves", "she takes a step",
                "the person", "keep going", "jumping", "jumping up", "he jumps"]  # fmt: skip
    assert actions(captions) == ["jumping", "walks", "waves", "keep", "step"]
    assert stems(["a man walks", "walking left"]) == {"walk", "left"}
    assert actions([]) == [] and stems([]) == frozenset()
