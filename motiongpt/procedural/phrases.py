"""What the sentences of the embedded dataset say:
the verb phrases of every family of actions, in the third person.

`PHRASES` are true of every performance of a family, whatever its tempo, count and size. `SIZED` are
true of a large or a small one only. The first phrase of a list is the plain one. {the} stands for
an article or a possessive, {side} for the clip's side and {other} for the other one, {wise} for
counterclockwise (to the left, seen from above) or clockwise.
"""

PHRASES = {
    "walk_forward": "walks forward|walks straight ahead|walks ahead|takes a few steps forward|moves forward on foot|"
    "goes forward on foot|walks in a straight line|steps forward several times|walks|walks on",
    "walk_backward": "walks backward|walks backwards|walks in reverse|takes a few steps back|"
    "steps backward several times|"
    "moves backward|backs up|goes backward on foot|walks back without turning around",
    "walk_circle": "walks in a circle to the {side}|walks around in a circle turning {side}|"
    "makes a circle to the {side}|"
    "goes around in a circle to the {side}|walks a loop to the {side}|walks {side} in a circle|"
    "walks round in a circle to the {side}|walks around in a circle to the {side}|circles to the {side}|"
    "walks a circle {wise}|walks in a {wise} circle|walks around {wise}",
    "walk_sideways": "walks sideways to the {side}|sidesteps to the {side}|steps sideways to the {side}|"
    "moves sideways to the {side}|takes side steps to the {side}|shuffles to the {side}|"
    "takes a few steps to the {side}|goes sideways to the {side}",
    "run": "runs forward|runs|runs straight ahead|jogs forward|runs along|goes running|runs ahead|"
    "runs in a straight line",
    "jog_in_place": "jogs in place|jogs on the spot|runs in place|runs on the spot|does a jog in place|"
    "jogs without moving forward|trots on the spot|keeps jogging in place",
    "march_in_place": "marches in place|marches on the spot|walks in place|steps in place|lifts {the} knees in turn|"
    "steps up and down in place|marches without moving forward|walks on the spot",
    "turn": "turns {side}|turns to the {side}|turns to face the {side}|makes a {side} turn|"
    "turns ninety degrees to the {side}|"
    "rotates to the {side}|makes a quarter turn to the {side}|turns {the} body to the {side}|"
    "steps around to the {side}",
    "turn_around": "turns around|turns all the way around|turns to face the other way|makes a half turn|turns back|"
    "makes an about-face|rotates to face backward|turns to the opposite direction",
    "jump": "jumps|jumps up|jumps in place|leaps up|does a jump|jumps into the air|makes a jump|springs up",
    "jump_forward": "jumps forward|leaps forward|does a forward jump|makes a jump forward|jumps ahead|"
    "hops forward with both feet|springs forward|does a jump forward",
    "hop": "hops on the {side} leg|hops on {the} {side} foot|jumps on {the} {side} leg|"
    "bounces on the {side} leg|does hops on the {side} foot|hops using only the {side} leg|"
    "jumps on {the} {side} foot only|keeps hopping on the {side} leg",
    "squat": "squats|squats down and stands up|does a squat|bends {the} knees into a squat|"
    "crouches down and gets up|goes into a squat and comes up|lowers into a squat and rises|"
    "does a knee bend",
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
    "steps forward into a lunge with the {side} leg|goes into a {side} lunge|"
    "does a {side} lunge",
    "wave": "waves the {side} hand|waves with {the} {side} hand|waves {the} {side} hand|"
    "raises {the} {side} hand and waves|waves hello with the {side} hand|"
    "gives a wave with the {side} hand|waves {the} {side} arm|greets with a wave of the {side} hand|"
    "waves goodbye with {the} {side} hand|waves at someone with the {side} hand|waves hello using {the} {side} hand|"
    "lifts {the} {side} hand and waves",
    "punch": "punches with the {side} hand|throws a {side} punch|punches with {the} {side} fist|"
    "makes a punch with the {side} arm|punches forward with {the} {side} hand|"
    "strikes with the {side} fist|punches the air with the {side} hand|throws a punch with the {side} hand|"
    "does a {side} jab",
    "raise_arm": "raises the {side} arm|raises {the} {side} hand|lifts the {side} arm|lifts {the} {side} arm up|"
    "puts {the} {side} hand up|holds up {the} {side} arm|reaches up with the {side} hand|"
    "raises {the} {side} arm overhead",
    "raise_both_arms": "raises both arms|raises both hands|raises {the} arms|puts {the} arms up|lifts both arms|"
    "lifts {the} arms up|puts both hands up|"
    "holds up both arms|reaches up with both hands|raises {the} arms overhead",
    "clap": "claps|claps {the} hands|claps both hands|does a clap|claps with both hands|applauds|"
    "puts {the} hands together to clap|claps in front of the chest",
    "stretch": "stretches|stretches {the} arms|stretches upward|does a stretch|stretches both arms overhead|"
    "stretches {the} whole body|reaches up to stretch|takes a good stretch",
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

# Families whose size can be seen. All others are always performed at their normal size.
SIZED = {
    "walk_forward": {
        "large": "walks forward with big steps|walks with big steps|takes big steps forward|"
        "walks ahead with large steps|"
        "walks forward with long strides|strides forward",
        "small": "walks forward with small steps|walks with small steps|takes small steps forward|"
        "walks ahead with little steps|walks forward with short steps",
    },
    "walk_backward": {
        "large": "walks backward with big steps|takes big steps back|walks backwards with large steps|"
        "moves backward with long steps",
        "small": "walks backward with small steps|takes small steps back|walks backwards with little steps|"
        "moves backward with short steps",
    },
    "walk_circle": {
        "large": "walks in a circle to the {side} with big steps|takes big steps in a circle to the {side}|"
        "goes around in a circle to the {side} with large steps",
        "small": "walks in a circle to the {side} with small steps|takes small steps in a circle to the {side}|"
        "goes around in a circle to the {side} with little steps",
    },
    "walk_sideways": {
        "large": "walks sideways to the {side} with big steps|takes big steps to the {side}|"
        "takes large side steps to the {side}|moves sideways to the {side} with big steps",
        "small": "walks sideways to the {side} with small steps|takes small steps to the {side}|"
        "takes little side steps to the {side}|moves sideways to the {side} with small steps",
    },
    "march_in_place": {
        "large": "marches in place with high knees|marches on the spot with high knees|lifts {the} knees high in turn|"
        "walks in place with high steps",
        "small": "marches in place with small steps|marches on the spot with small steps|"
        "lifts {the} knees a little in turn|"
        "walks in place with low steps",
    },
    "jump": {
        "large": "jumps high|jumps up high|jumps high into the air|does a big jump|makes a high jump|leaps high",
        "small": "jumps a little|jumps up a little|does a small jump|makes a little jump|jumps slightly|"
        "does a low jump",
    },
    "jump_forward": {
        "large": "jumps far forward|makes a big jump forward|leaps far ahead|does a long jump forward|"
        "jumps a long way forward",
        "small": "jumps a little forward|makes a small jump forward|does a short jump forward|"
        "jumps a short way forward|makes a little jump ahead",
    },
    "hop": {
        "large": "hops high on the {side} leg|jumps high on the {side} leg|hops on the {side} foot with big hops|"
        "does big hops on {the} {side} leg",
        "small": "hops a little on the {side} leg|jumps a little on the {side} leg|"
        "hops on the {side} foot with small hops|"
        "does small hops on {the} {side} leg",
    },
    "squat": {
        "large": "squats deeply|squats down deep|does a deep squat|bends {the} knees deeply|goes into a deep squat|"
        "does a deep knee bend",
        "small": "squats slightly|squats down a little|does a small squat|bends {the} knees slightly|"
        "goes into a shallow squat|squats a little",
    },
    "bow": {
        "large": "bows deeply|takes a deep bow|makes a deep bow|bends far forward in a bow|bows low",
        "small": "bows slightly|takes a small bow|makes a slight bow|bends forward a little in a bow|bows a little",
    },
    "kick": {
        "large": "kicks high with the {side} leg|does a high kick with the {side} leg|kicks {the} {side} leg high|"
        "makes a big kick with the {side} foot",
        "small": "kicks a little with the {side} leg|does a low kick with the {side} leg|kicks {the} {side} leg low|"
        "makes a small kick with the {side} foot",
    },
    "lunge": {
        "large": "lunges deeply with the {side} leg|does a deep lunge with the {side} leg|"
        "takes a big step into a lunge with the {side} foot|lunges far forward on {the} {side} leg",
        "small": "lunges slightly with the {side} leg|does a small lunge with the {side} leg|"
        "takes a small step into a lunge with the {side} foot|lunges a little forward on {the} {side} leg",
    },
    "jumping_jacks": {
        "large": "does big jumping jacks|does wide jumping jacks|performs jumping jacks with big jumps",
        "small": "does small jumping jacks|does little jumping jacks|performs jumping jacks with small jumps",
    },
    "wave": {
        "large": "waves the {side} hand widely|waves the {side} hand with a big movement|"
        "gives a big wave with {the} {side} hand|waves {the} {side} arm widely|makes a large wave with the {side} hand",
        "small": "waves the {side} hand slightly|waves the {side} hand with a small movement|"
        "gives a small wave with {the} {side} hand|waves {the} {side} arm a little|"
        "makes a little wave with the {side} hand",
    },
    "punch": {
        "large": "punches with the {side} hand in a big movement|throws a big punch with the {side} hand|"
        "throws a long {side} punch|punches far forward with {the} {side} fist",
        "small": "punches with the {side} hand in a small movement|throws a small punch with the {side} hand|"
        "throws a short {side} punch|punches a little with {the} {side} fist",
    },
    "clap": {
        "large": "claps widely|claps {the} hands widely|claps {the} hands with big movements|"
        "claps with large movements",
        "small": "claps slightly|claps {the} hands with small movements|claps with little movements|"
        "claps {the} hands close together",
    },
    "throw": {
        "large": "throws something with the {side} hand in a big movement|makes a big throw with the {side} hand|"
        "throws a ball with a large swing of the {side} arm",
        "small": "throws something with the {side} hand in a small movement|makes a small throw with the {side} hand|"
        "throws a ball with a short swing of the {side} arm",
    },
    "nod": {
        "large": "nods deeply|nods {the} head deeply|gives a big nod|does a deep nod",
        "small": "nods slightly|nods {the} head a little|gives a small nod|does a slight nod",
    },
    "shake_head": {
        "large": "shakes the head widely|shakes {the} head with big movements|swings {the} head far from side to side",
        "small": "shakes the head slightly|shakes {the} head with small movements|shakes {the} head a little",
    },
}
SIZED = {name: {size: tuple(text.split("|")) for size, text in lists.items()} for name, lists in SIZED.items()}
