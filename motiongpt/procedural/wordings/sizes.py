"""Phrases that are true of a large or a small performance only. `procedural/phrases.py` says how a list is written."""

# Families whose size can be seen. All others are always performed at their normal size.
SIZES = {
    "walk_forward": {
        "large": """
            walks forward with big steps | walks with big steps | takes big steps forward |
            walks ahead with large steps | walks forward with long strides | strides forward | strides ahead |
            walks with long strides | walks with wide strides | takes long steps forward | walks on with huge steps |
            strides along | takes giant steps forward | walks straight ahead with large strides
        """,
        "small": """
            walks forward with small steps | walks with small steps | takes small steps forward |
            walks ahead with little steps | walks forward with short steps | walks with short steps |
            walks with tiny steps | takes tiny steps forward | takes little steps forward | takes short steps forward |
            walks ahead with baby steps | takes baby steps forward | walks straight ahead with short strides
        """,
    },
    "walk_backward": {
        "large": """
            walks backward with big steps | takes big steps back | walks backwards with large steps |
            moves backward with long steps | takes large steps backward | takes long steps back |
            walks backward with long strides | steps back with big steps | strides backward |
            walks backwards with huge steps | takes giant steps back | backs up with big steps
        """,
        "small": """
            walks backward with small steps | takes small steps back | walks backwards with little steps |
            moves backward with short steps | takes little steps backward | takes short steps back |
            walks backward with tiny steps | takes tiny steps back | walks backwards with short strides |
            takes baby steps back | backs up with small steps | steps back with little steps
        """,
    },
    "walk_circle": {
        "large": """
            walks in a circle to the {side} with big steps | takes big steps in a circle to the {side} |
            goes around in a circle to the {side} with large steps | walks a circle to the {side} with long strides |
            strides in a circle to the {side} | walks in a circle to the {side} with long steps |
            circles to the {side} with big steps | takes long steps in a circle to the {side} |
            walks a loop to the {side} with large steps | strides around in a circle {wise} |
            walks in circles with big steps | strides in a circle
        """,
        "small": """
            walks in a circle to the {side} with small steps | takes small steps in a circle to the {side} |
            goes around in a circle to the {side} with little steps | walks a circle to the {side} with short steps |
            circles to the {side} with small steps | takes tiny steps in a circle to the {side} |
            walks in a circle to the {side} with tiny steps | takes short steps in a circle to the {side} |
            walks a loop to the {side} with little steps | walks around in a circle {wise} with small steps |
            walks in circles with small steps | takes little steps in a circle
        """,
    },
    "walk_sideways": {
        "large": """
            walks sideways to the {side} with big steps | takes big steps to the {side} |
            takes large side steps to the {side} | moves sideways to the {side} with big steps |
            takes wide steps to the {side} | takes long steps to the {side} | sidesteps to the {side} with big steps |
            steps far to the {side} | takes wide side steps to the {side} | walks sideways {side} with wide steps |
            takes big side steps | walks sideways with big steps
        """,
        "small": """
            walks sideways to the {side} with small steps | takes small steps to the {side} |
            takes little side steps to the {side} | moves sideways to the {side} with small steps |
            takes short steps to the {side} | takes tiny steps to the {side} |
            sidesteps to the {side} with small steps | takes tiny side steps to the {side} |
            shuffles to the {side} with little steps | walks sideways {side} with short steps |
            takes small side steps | walks sideways with small steps
        """,
    },
    "march_in_place": {
        "large": """
            marches in place with high knees | marches on the spot with high knees | lifts {the} knees high in turn |
            walks in place with high steps | marches in place lifting {the} knees high |
            raises {the} knees high in turn | steps in place with high knees | walks on the spot with high knees |
            does high knees in place | marches on the spot with big steps | marches in place with big steps |
            stomps in place with high knees
        """,
        "small": """
            marches in place with small steps | marches on the spot with small steps |
            lifts {the} knees a little in turn | walks in place with low steps | marches in place with low knees |
            marches in place with little steps | steps in place with small steps | walks on the spot with small steps |
            raises {the} knees slightly in turn | lifts {the} feet a little in turn |
            marches on the spot with low knees | walks in place with tiny steps
        """,
    },
    "march_forward": {
        "large": """
            marches forward with high knees | marches with high knees | marches ahead with high knees |
            marches forward with big steps | marches with big steps | marches ahead with long strides |
            marches forward lifting {the} knees high | walks forward with high knees |
            walks ahead lifting {the} knees high | walks with high knees | marches off with big steps |
            marches along with high steps
        """,
        "small": """
            marches forward with small steps | marches with small steps | marches ahead with little steps |
            marches forward with low knees | marches with low knees | marches ahead with short steps |
            marches forward lifting {the} knees a little | walks forward lifting {the} knees slightly |
            marches along with small steps | marches off with short steps | marches ahead with tiny steps |
            marches forward with short strides
        """,
    },
    "jump": {
        "large": """
            jumps high | jumps up high | jumps high into the air | does a big jump | makes a high jump | leaps high |
            leaps high into the air | does a high jump | makes a big jump | takes a big jump | makes a huge jump |
            springs high into the air | jumps really high | jumps as high as possible
        """,
        "small": """
            jumps a little | jumps up a little | does a small jump | makes a little jump | jumps slightly |
            does a low jump | makes a small jump | does a little jump | does a tiny jump | hops up a little |
            makes a low jump | makes a little hop | jumps just off the floor | jumps up slightly
        """,
    },
    "jump_forward": {
        "large": """
            jumps far forward | makes a big jump forward | leaps far ahead | does a long jump forward |
            jumps a long way forward | does a long jump | makes a long jump | does a big jump forward |
            makes a big leap forward | takes a big leap forward | jumps far ahead | makes a huge jump forward |
            leaps a long way ahead
        """,
        "small": """
            jumps a little forward | makes a small jump forward | does a short jump forward |
            jumps a short way forward | makes a little jump ahead | does a small jump forward | hops a little forward |
            makes a short jump forward | takes a little leap forward | does a little hop forward |
            jumps slightly forward | makes a tiny jump forward | jumps a little ahead
        """,
    },
    "hop": {
        "large": """
            hops high on the {side} leg | jumps high on the {side} leg | hops on the {side} foot with big hops |
            does big hops on {the} {side} leg | makes big hops on the {side} leg | does high hops on the {side} foot |
            hops up high on the {side} foot | makes high hops on {the} {side} foot | bounces high on the {side} leg |
            jumps up high on {the} {side} foot | hops high on one leg | does big hops on one foot
        """,
        "small": """
            hops a little on the {side} leg | jumps a little on the {side} leg |
            hops on the {side} foot with small hops | does small hops on {the} {side} leg |
            makes small hops on the {side} leg | does little hops on the {side} foot |
            makes little hops on {the} {side} foot | hops slightly on the {side} foot |
            bounces a little on the {side} leg | does tiny hops on the {side} leg | does little hops on one leg |
            makes small hops on one foot
        """,
    },
    "squat": {
        "large": """
            squats deeply | squats down deep | does a deep squat | bends {the} knees deeply | goes into a deep squat |
            does a deep knee bend | squats low | squats down low | squats all the way down | performs a deep squat |
            makes a deep squat | sinks into a deep squat | drops low into a squat | crouches deep down
        """,
        "small": """
            squats slightly | squats down a little | does a small squat | bends {the} knees slightly |
            goes into a shallow squat | squats a little | does a shallow squat | does a half squat |
            bends {the} knees a little | squats halfway down | makes a small squat | performs a shallow squat |
            does a little squat | crouches slightly
        """,
    },
    "bow": {
        "large": """
            bows deeply | takes a deep bow | makes a deep bow | bends far forward in a bow | bows low |
            gives a deep bow | does a deep bow | bows deep | bows down low | takes a low bow | makes a low bow |
            bows all the way down | makes a big bow
        """,
        "small": """
            bows slightly | takes a small bow | makes a slight bow | bends forward a little in a bow | bows a little |
            gives a small bow | does a slight bow | does a little bow | takes a little bow | gives a slight bow |
            makes a little bow | makes a small bow
        """,
    },
    "kick": {
        "large": """
            kicks high with the {side} leg | does a high kick with the {side} leg | kicks {the} {side} leg high |
            makes a big kick with the {side} foot | kicks {the} {side} leg up high |
            makes a high kick with the {side} leg | throws a high kick with {the} {side} leg |
            kicks high into the air with the {side} foot | does a big kick with the {side} leg |
            kicks {the} {side} foot high into the air | performs a high kick with the {side} leg | kicks high |
            does a high kick | throws a high kick
        """,
        "small": """
            kicks a little with the {side} leg | does a low kick with the {side} leg | kicks {the} {side} leg low |
            makes a small kick with the {side} foot | kicks low with the {side} leg |
            does a small kick with the {side} leg | makes a low kick with {the} {side} foot |
            throws a low kick with the {side} leg | does a little kick with the {side} foot |
            kicks slightly with the {side} foot | gives a little kick with {the} {side} foot | kicks low |
            does a low kick | makes a small kick
        """,
    },
    "lunge": {
        "large": """
            lunges deeply with the {side} leg | does a deep lunge with the {side} leg |
            takes a big step into a lunge with the {side} foot | lunges far forward on {the} {side} leg |
            makes a deep lunge with the {side} leg | does a big lunge with the {side} leg |
            lunges low with the {side} leg | makes a big lunge with {the} {side} foot |
            does a long lunge with the {side} leg | takes a long step into a lunge with {the} {side} leg |
            lunges deeply | does a deep lunge
        """,
        "small": """
            lunges slightly with the {side} leg | does a small lunge with the {side} leg |
            takes a small step into a lunge with the {side} foot | lunges a little forward on {the} {side} leg |
            makes a small lunge with the {side} leg | does a shallow lunge with the {side} leg |
            does a short lunge with the {side} leg | makes a little lunge with {the} {side} foot |
            does a little lunge with the {side} leg | takes a short step into a lunge with {the} {side} leg |
            lunges a little | does a small lunge
        """,
    },
    "side_bend": {
        "large": """
            bends far to the {side} | bends deeply to the {side} | leans far to the {side} |
            does a deep side bend to the {side} | does a big side bend to the {side} |
            makes a deep side bend to the {side} | bends {the} upper body far to the {side} | tilts far to the {side} |
            bends a long way to the {side} | makes a big side bend to the {side} | leans far over to the {side} |
            does a deep side bend | bends far sideways
        """,
        "small": """
            bends a little to the {side} | bends slightly to the {side} | leans a little to the {side} |
            leans slightly to the {side} | does a small side bend to the {side} |
            does a slight side bend to the {side} | makes a little side bend to the {side} |
            bends {the} upper body a little to the {side} | tilts slightly to the {side} |
            tilts a little to the {side} | makes a slight side bend to the {side} | does a small side bend |
            bends a little sideways
        """,
    },
    "jumping_jacks": {
        "large": """
            does big jumping jacks | does wide jumping jacks | performs jumping jacks with big jumps |
            makes big jumping jacks | does big star jumps | does wide star jumps | performs big jumping jacks |
            performs wide jumping jacks | does jumping jacks with big jumps | does large star jumps |
            makes wide star jumps | does jumping jacks with wide jumps
        """,
        "small": """
            does small jumping jacks | does little jumping jacks | performs jumping jacks with small jumps |
            makes small jumping jacks | does small star jumps | does little star jumps | performs small jumping jacks |
            performs little jumping jacks | does jumping jacks with small jumps |
            does jumping jacks with little jumps | makes small star jumps | does tiny jumping jacks
        """,
    },
    "wave": {
        "large": """
            waves the {side} hand widely | waves the {side} hand with a big movement |
            gives a big wave with {the} {side} hand | waves {the} {side} arm widely |
            makes a large wave with the {side} hand | makes a big wave with the {side} hand |
            waves the {side} hand high | waves {the} {side} arm with big movements |
            gives a wide wave with {the} {side} arm | does a big wave with the {side} hand |
            waves widely with the {side} arm | gives a big wave | makes a big wave | waves widely
        """,
        "small": """
            waves the {side} hand slightly | waves the {side} hand with a small movement |
            gives a small wave with {the} {side} hand | waves {the} {side} arm a little |
            makes a little wave with the {side} hand | makes a small wave with the {side} hand |
            gives a little wave with {the} {side} hand | waves {the} {side} hand a little |
            does a little wave with the {side} hand | waves slightly with {the} {side} hand |
            gives a slight wave with the {side} hand | gives a little wave | makes a small wave | waves a little
        """,
    },
    "wave_both": {
        "large": """
            waves both hands widely | waves both arms widely | waves both hands with big movements |
            waves both arms with big movements | gives a big wave with both hands | makes a big wave with both hands |
            waves {the} arms widely | waves {the} arms in big movements | does a big wave with both arms |
            waves with both arms in wide swings | waves widely with both hands
        """,
        "small": """
            waves both hands slightly | waves both hands a little | waves both hands with small movements |
            waves both arms with small movements | gives a small wave with both hands |
            makes a little wave with both hands | waves {the} hands slightly |
            waves {the} hands with little movements | does a small wave with both hands |
            gives a little wave with both hands | waves slightly with both hands
        """,
    },
    "punch": {
        "large": """
            punches with the {side} hand in a big movement | throws a big punch with the {side} hand |
            throws a long {side} punch | punches far forward with {the} {side} fist | throws a big {side} punch |
            throws a long punch with {the} {side} hand | makes a big punch with the {side} arm |
            punches far out with the {side} hand | does a big punch with {the} {side} fist |
            swings {the} {side} fist in a big punch | throws a big punch | punches far ahead
        """,
        "small": """
            punches with the {side} hand in a small movement | throws a small punch with the {side} hand |
            throws a short {side} punch | punches a little with {the} {side} fist | throws a short {side} jab |
            throws a short punch with {the} {side} hand | makes a small punch with the {side} arm |
            does a little punch with the {side} hand | throws a little punch with {the} {side} fist |
            gives a small punch with the {side} hand | throws a short punch | makes a small punch
        """,
    },
    "clap": {
        "large": """
            claps widely | claps {the} hands widely | claps {the} hands with big movements |
            claps with large movements | claps with big movements | claps with wide arms | claps with big swings |
            claps {the} hands in a big movement | does big claps | makes big claps | claps {the} hands from far apart
        """,
        "small": """
            claps slightly | claps {the} hands with small movements | claps with little movements |
            claps {the} hands close together | claps with small movements | claps {the} hands slightly |
            claps a little | claps {the} hands a little | does small claps | makes little claps | makes small claps
        """,
    },
    "throw": {
        "large": """
            throws something with the {side} hand in a big movement | makes a big throw with the {side} hand |
            throws a ball with a large swing of the {side} arm | does a big throw with {the} {side} arm |
            throws something far with the {side} hand | throws a ball far with {the} {side} arm |
            hurls something far away with the {side} hand | throws a stone with a big swing of {the} {side} arm |
            throws with a big movement of the {side} arm | makes a long throw with the {side} hand |
            makes a big throw | throws something far away
        """,
        "small": """
            throws something with the {side} hand in a small movement | makes a small throw with the {side} hand |
            throws a ball with a short swing of the {side} arm | does a little throw with {the} {side} hand |
            throws something a little way with the {side} hand |
            throws a stone with a small swing of {the} {side} arm | throws with a small movement of the {side} arm |
            makes a short throw with the {side} hand | tosses something a short way with {the} {side} hand |
            does a short throw with the {side} arm | makes a little throw | tosses something a little way
        """,
    },
    "nod": {
        "large": """
            nods deeply | nods {the} head deeply | gives a big nod | does a deep nod | gives a deep nod |
            nods {the} head with big movements | nods with big movements | makes a big nod | makes a deep nod |
            does a big nod | moves {the} head far up and down
        """,
        "small": """
            nods slightly | nods {the} head a little | gives a small nod | does a slight nod | nods a little |
            gives a slight nod | gives a little nod | nods {the} head slightly | makes a small nod |
            does a little nod | does a small nod | makes a slight nod
        """,
    },
    "shake_head": {
        "large": """
            shakes the head widely | shakes {the} head with big movements | swings {the} head far from side to side |
            turns {the} head far from side to side | gives a big shake of the head |
            shakes {the} head in big movements | moves {the} head far from side to side | makes a big head shake |
            does a big head shake | shakes {the} head in wide swings | swings {the} head widely
        """,
        "small": """
            shakes the head slightly | shakes {the} head with small movements | shakes {the} head a little |
            turns {the} head a little from side to side | gives a small shake of the head |
            gives a slight shake of the head | moves {the} head slightly from side to side | makes a small head shake |
            does a slight head shake | shakes {the} head in small movements | gives a little shake of the head
        """,
    },
}
