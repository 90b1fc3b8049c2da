"""Templates of the embedded sentences: the ways to put subjects and verb phrases together.

Each table is pairs of a share and the templates, divided by |, that share it evenly. The fields of a
template:

    {a} {b} {c}        the actions in the order they happen; {w} is one on top of {a}
    {a_third} {a_pro}  alone, a verb agrees with the subject, _third with "someone", _pro with {pro};
                       the other endings are forms of a verb, and {a_noun} is "a left kick"
    {s} {s3} {indef}   any subject, one that is not I, you or we, "a man" or "someone"; {obj} is "him"
    {is} {begins} ...  helpers that agree with the subject, with _pro those that agree with {pro}
    {manner}           how fast the first action is
"""

ONE = (
    (0.28, "{s} {a}"),
    (0.07, "{s} {is} {a_ing}"),
    (0.05, "{a_ing}"),
    (0.08, "{a_command}|please {a_command}|{a_command}, please|now {a_command}|go ahead and {a_command}"),
    (0.03, "{indef} {a_ing}|{indef}, {a_ing}"),
    (0.07, "{s} {a_past}"),
    (0.02, "{manner}, {s} {a}|{manner}, {s} {a_past}"),
    (0.03, "{s} {was} {a_ing}|{s} {has} {a_participle}|{s} {has} just {a_participle}"),
    (0.03, "{s} will {a_base}|{s} {is} going to {a_base}|{s} {is} about to {a_base}|{s} would like to {a_base}"),
    (
        0.05,
        "{s} {begins} to {a_base}|{s} {starts} to {a_base}|{s} {starts} {a_ing}|{s} {tries} to {a_base}|"
        "{s} {wants} to {a_base}|{s} {decides} to {a_base}|{s} {manages} to {a_base}|{s} {goes} and {a}",
    ),
    (
        0.08,
        "there is {indef} who {a_third}|there is {indef} {a_ing}|{indef} who {a_third}|{indef} who is {a_ing}|"
        "{indef} that is {a_ing}|we see {indef} {a_ing}|you can see {indef} {a_ing}|this is {indef} {a_ing}|"
        "{indef} can be seen {a_ing}|look, {s} {is} {a_ing}|it looks like {s} {is} {a_ing}|here {s} {is} {a_ing}",
    ),
    (
        0.07,
        "can you {a_base}?|could you {a_base}?|could you please {a_base}?|can you {a_base} for me?|would you {a_base}?|"
        "will you please {a_base}?|you should {a_base}|i want you to {a_base}|i would like you to {a_base}|"
        "try to {a_base}|let's {a_base}|time to {a_base}|can you please {a_base}?|i'd like you to {a_base}",
    ),
    (
        0.1,
        "show me {indef} {a_ing}|show me {indef} who {a_third}|can you show me {indef} {a_ing}?|"
        "could you show me someone who {a_third}?|show me how {s3} {a}|show me how to {a_base}|"
        "i want to see {indef} {a_ing}|i'd like to see {indef} {a_ing}|i would like to see {indef} who {a_third}|"
        "i need {indef} who {a_third}|generate {indef} {a_ing}|generate {indef} who {a_third}|animate {indef} {a_ing}|"
        "create a motion of {indef} {a_ing}|create an animation of {indef} {a_ing}|give me {indef} {a_ing}|"
        "make an animation where {s3} {a}|a motion of {indef} {a_ing}|a video of {indef} {a_ing}|"
        "a clip of {indef} {a_ing}|an animation of {indef} {a_ing}|imagine {indef} {a_ing}|let's see {indef} {a_base}|"
        "can i see {indef} {a_ing}?|a film of {indef} {a_ing}|draw {indef} {a_ing}",
    ),
    (
        0.05,
        "let {obj} {a_base}|make {obj} {a_base}|have {obj} {a_base}|i want {obj} to {a_base}|tell {obj} to {a_base}|"
        "i'd like {obj} to {a_base}|watch {obj} {a_base}|can you make {obj} {a_base}?|please make {obj} {a_base}",
    ),
    (
        0.02,
        "how {does} {s} {a_base}?|what does it look like when {s3} {a}?|how do you {a_base}?|"
        "do you know how to {a_base}?|how would {s} {a_base}?|{does} {s} {a_base}?",
    ),
    (
        0.02,
        "{a_noun}|{a_noun}, please|show me {a_noun}|i want to see {a_noun}|can i see {a_noun}?|give me {a_noun}|"
        "now {a_noun}|let's see {a_noun}",
    ),
)
TWO = (
    (0.18, "{s} {a} then {b}"),
    (0.15, "{s} {a} and then {b}"),
    (0.07, "{s} {a}, then {b}"),
    (0.05, "{s} {a} and {b}"),
    (0.05, "{s} first {a} and then {b}|first {s} {a}, then {pro} {b_pro}|first {s} {a} and then {pro} {b_pro}"),
    (0.05, "{s} {a}, after that {b}|{s} {a}, after that {pro} {b_pro}|{s} {a} and after that {b}"),
    (0.06, "{s} {a} before {b_ing}|{s} {a_past} before {b_ing}|{s} {a} before {pro} {b_pro}"),
    (0.05, "after {a_ing}, {s} {b}|after {a_ing}, {s} {b_past}|after {a_ing} {s} {b}"),
    (
        0.05,
        "as soon as {s} {has} {a_participle}, {pro} {b_pro}|once {s} {has} {a_participle}, {pro} {b_pro}|"
        "when {s} {has} {a_participle}, {pro} {b_pro}|having {a_participle}, {s} {b}|"
        "{s} {a}, and when {pro} {has_pro} done that, {pro} {b_pro}",
    ),
    (
        0.08,
        "{s} {a_past} and then {b_past}|{s} {a_past}, then {b_past}|{s} {a_past} and {b_past}|"
        "{s} {is} {a_ing} and then {b_ing}|{s} will {a_base} and then {b_base}|{s} {a}, and afterwards {pro} {b_pro}|"
        "{s} {a_past} and afterwards {b_past}",
    ),
    (
        0.07,
        "{s} {a}. then {pro} {b_pro}|{s} {a}. next, {pro} {b_pro}|{s} {a}; then {pro} {b_pro}|{s} {a} and finally {b}|"
        "{s} {starts} by {a_ing} and then {b}|{s} {starts} by {a_ing} and {ends} by {b_ing}|"
        "{s} {a}. after that, {pro} {b_pro}|"
        "{s} {a} and next {b}|{s} {a}, followed by {b_ing}|{s} {a}, next {b}",
    ),
    (
        0.05,
        "{a_ing} then {b_ing}|{a_ing} and then {b_ing}|{a_ing} followed by {b_ing}|{a_ing}, then {b_ing}|"
        "first {a_ing}, then {b_ing}|{indef} {a_ing} and then {b_ing}",
    ),
    (
        0.08,
        "{a_command} then {b_command}|{a_command} and then {b_command}|first {a_command}, then {b_command}|"
        "please {a_command} and then {b_command}|can you {a_base} and then {b_base}?|{a_command} and {b_command}|"
        "could you first {a_base} and then {b_base}?|{a_command}, and when you are done, {b_command}|"
        "start by {a_ing}, then {b_command}|{a_command}. now {b_command}",
    ),
    (
        0.06,
        "there is {indef} who {a_third} and then {b_third}|show me {indef} who {a_third} and then {b_third}|"
        "show me {indef} {a_ing} and then {b_ing}|make {obj} {a_base} and then {b_base}|"
        "let {obj} {a_base}, then {b_base}|"
        "i want to see {indef} {a_ing} and then {b_ing}|generate {indef} {a_ing} followed by {b_ing}|"
        "{indef} who first {a_third} and then {b_third}|a video of {indef} {a_ing} and then {b_ing}",
    ),
    (0.03, "before {b_ing}, {s} {a}|{s} {b} after {a_ing}|{s} {b_past} after {a_ing}"),
)
THREE = (
    (0.16, "{s} {a}, {b} and {c}|{s} {a}, {b} and then {c}|{s} {a}, then {b} and {c}"),
    (0.3, "{s} {a} then {b} then {c}|{s} {a}, then {b}, then {c}|{s} {a}, then {b} and then {c}"),
    (
        0.14,
        "{s} {a}, then {b} and finally {c}|first {s} {a}, then {pro} {b_pro}, and finally {pro} {c_pro}|"
        "{s} first {a}, then {b}, and finally {c}|{s} {starts} by {a_ing}, then {b} and finally {c}|"
        "{s} {a}. then {pro} {b_pro}. finally {pro} {c_pro}|{s} {a}; next {pro} {b_pro} and at the end {pro} {c_pro}",
    ),
    (
        0.12,
        "{s} {a_past}, then {b_past} and then {c_past}|{s} {a_past}, {b_past} and {c_past}|"
        "{s} {is} {a_ing}, then {b_ing} and finally {c_ing}|{s} will {a_base}, then {b_base} and then {c_base}",
    ),
    (
        0.1,
        "after {a_ing}, {s} {b} and then {c}|{s} {a} and {b} before {c_ing}|"
        "{s} {a}, and after that {pro} {b_pro} and {c_pro}|"
        "once {s} {has} {a_participle}, {pro} {b_pro} and then {c_pro}",
    ),
    (0.06, "{a_ing}, {b_ing} and {c_ing}|{a_ing}, then {b_ing}, then {c_ing}"),
    (
        0.12,
        "{a_command}, {b_command} and then {c_command}|please {a_command}, then {b_command} and then {c_command}|"
        "can you {a_base}, then {b_base} and then {c_base}?|first {a_command}, then {b_command}, then {c_command}|"
        "show me {indef} {a_ing}, then {b_ing}, then {c_ing}|make {obj} {a_base}, {b_base} and {c_base}|"
        "there is {indef} who {a_third}, then {b_third} and then {c_third}",
    ),
)
WHILE = (
    (0.3, "{s} {a} while {w_ing}"),
    (0.14, "{s} {w} while {a_ing}|{s} {w} as {pro} {a_pro}|as {s} {a}, {pro} {w_pro}|while {s} {a}, {pro} {w_pro}"),
    (0.06, "while {a_ing}, {s} {w}|while {w_ing}, {s} {a}"),
    (
        0.14,
        "{s} {a} and {w} at the same time|{s} {a}, {w_ing} at the same time|{s} {a} and meanwhile {w}|"
        "{s} {a} and at the same time {w}|{s} simultaneously {a} and {w}|{s} {a}; meanwhile {pro} {w_pro}",
    ),
    (0.05, "{s} {a}, {w_ing}|{s} {w}, {a_ing}"),
    (
        0.1,
        "{s} {is} {a_ing} while {w_ing}|{s} {is} {a_ing} and {w_ing} at the same time|{s} {a_past} while {w_ing}|"
        "{s} {w_past} while {a_ing}|{s} {w_past} while {pro} {was_pro} {a_ing}",
    ),
    (0.07, "{a_ing} while {w_ing}|{w_ing} while {a_ing}|{a_ing} and {w_ing} at the same time|both {a_ing} and {w_ing}"),
    (
        0.14,
        "{a_command} while {w_ing}|{a_command} and {w_command} at the same time|please {w_command} while {a_ing}|"
        "can you {a_base} while {w_ing}?|could you {w_base} while {a_ing}?|show me {indef} {a_ing} while {w_ing}|"
        "{indef} who {w_third} while {a_ing}|i want to see {indef} {a_ing} and {w_ing} at the same time|"
        "make {obj} {a_base} while {w_ing}",
    ),
)
