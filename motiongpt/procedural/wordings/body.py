"""Phrases of what the whole body does. `procedural/phrases.py` says how a list is written."""

BODY = {
    "stand_still": """
        stands still | stands | stands there | stands about | does not move | does not move at all | does nothing |
        does not do anything | does not go anywhere | stays still | stays put | stays in place | stays in position |
        stays on the spot | stays standing | keeps still | keeps standing | keeps standing still | remains still |
        remains standing | remains in place | remains motionless | remains at rest | holds still | stands motionless |
        stands without moving | stands around | stands and waits | stands and does nothing | stands idle | waits |
        waits in place | waits there | does not take a step | waits for someone | waits for the bus | waits standing |
        freezes | freezes in place | freezes on the spot | stands like a statue | stands at ease | stands in place |
        stands on the spot | stands doing nothing | stands upright and still | stands quietly |
        stands without a movement | idles | pauses | stops moving
    """,
    "dance": """
        dances | dances around | dances to the music | dances on the spot | does a dance | does some dancing |
        grooves | grooves to the music | grooves to the beat | boogies | boogies on the dance floor |
        sways to the music | sways to the beat | moves to the music | moves to the beat | moves to the rhythm |
        moves in rhythm | moves like a dancer | performs a dance | performs dance moves | does dance moves |
        does some dance moves | shows some dance moves | shows off dance moves | busts a move | breaks into a dance |
        breaks out dancing | keeps dancing | goes dancing | dances like nobody is watching | dances at a party |
        dances at the disco | dances at the club | dances to a song | dances to a tune | dances in place |
        dances along | dances alone | dances to the beat | steps to the beat | gets down to the music |
        gets into the groove | hits the dance floor | swings to the music | jives | rocks to the music |
        shakes it on the dance floor | enjoys a dance
    """,
    "yoga": """
        does yoga | practices yoga | does a yoga pose | strikes a yoga pose | performs a yoga pose |
        holds a yoga pose | goes into a yoga pose | gets into a yoga pose | takes a yoga pose | makes a yoga pose |
        assumes a yoga pose | moves into a yoga pose | shows a yoga pose | tries a yoga pose | poses like a yogi |
        does some yoga | performs yoga | exercises with yoga | does yoga exercises | does a yoga exercise |
        performs a yoga exercise | practices a yoga pose | practices a yoga posture | does a yoga posture |
        takes a yoga posture | holds a yoga posture | performs a yoga posture | does a yoga stance | does a yoga move |
        performs a yoga move | does yoga at home | does yoga on a mat | practices yoga on a mat | trains in yoga |
        works on a yoga pose | enjoys some yoga | relaxes with yoga | warms up with yoga | goes through a yoga pose |
        shows how yoga is done | does a pose from yoga | does an asana | holds an asana | practices an asana |
        does morning yoga | strikes a pose from yoga
    """,
    "tree_pose": """
        does the tree pose on the {side} leg | does a tree pose on the {side} leg |
        holds the tree pose on the {side} leg | stands in tree pose on the {side} leg |
        stands like a tree on the {side} leg | takes the tree pose on the {side} leg |
        performs the tree pose on the {side} leg | goes into tree pose on the {side} leg |
        gets into the tree pose on the {side} leg | strikes a tree pose on {the} {side} leg |
        practices the tree pose on the {side} leg | moves into tree pose on {the} {side} leg |
        makes a tree pose on the {side} leg | assumes the tree pose on the {side} leg |
        holds a tree pose on {the} {side} foot | does the tree pose on {the} {side} foot |
        does the yoga tree on the {side} leg | does the tree from yoga on the {side} leg |
        poses as a tree on the {side} leg | poses like a tree on {the} {side} foot |
        balances in tree pose on the {side} leg | stays in the tree pose on the {side} leg |
        does the vrksasana on the {side} leg | stands as a tree on the {side} foot |
        does the tree pose with the {other} foot up | does the tree pose with the {other} leg lifted |
        stands in tree pose with {the} {other} foot off the floor | holds the tree pose with the {other} knee bent |
        does the tree posture on the {side} leg | holds the tree posture on {the} {side} leg |
        takes a tree posture on the {side} leg | stands on the {side} leg in the tree pose |
        stands on {the} {side} leg like a tree | balances like a tree on the {side} leg |
        balances on the {side} leg in tree pose | does the tree pose | does a tree pose | holds the tree pose |
        stands in tree pose | strikes a tree pose | stands like a tree | goes into tree pose | does the yoga tree |
        poses like a tree | gets into the tree pose
    """,
    "warrior_pose": """
        does the warrior pose with the {side} leg in front | does a warrior pose with the {side} leg in front |
        holds the warrior pose with the {side} leg in front | takes the warrior pose with the {side} leg in front |
        stands in warrior pose with the {side} leg in front | performs the warrior pose with the {side} leg in front |
        goes into warrior pose with the {side} leg in front |
        gets into the warrior pose with the {side} foot in front |
        strikes a warrior pose with the {side} leg in front | practices the warrior pose with the {side} leg in front |
        moves into warrior pose with the {side} foot in front | makes a warrior pose with the {side} leg in front |
        assumes the warrior pose with the {side} leg in front | steps into warrior pose with the {side} foot |
        steps into the warrior pose with {the} {side} leg | does the warrior pose with the {side} knee bent |
        holds the warrior pose with {the} {side} knee bent | does the yoga warrior with the {side} leg in front |
        does the warrior from yoga with the {side} leg in front | poses as a warrior with the {side} leg in front |
        poses like a warrior with {the} {side} leg in front | stays in the warrior pose with the {side} leg in front |
        does the warrior pose with the {side} knee in front | holds the warrior pose with {the} {side} foot in front |
        does the virabhadrasana with the {side} leg in front | does a warrior pose on the {side} side |
        does the warrior posture with the {side} leg in front |
        holds the warrior posture with the {side} leg in front | does a {side} warrior pose |
        does the {side} warrior pose | holds a {side} warrior pose | strikes a {side} warrior pose |
        does the warrior pose with the {side} leg forward | does the warrior pose with {the} {side} foot ahead |
        stands in warrior pose with {the} {side} foot ahead | does the warrior pose | does a warrior pose |
        holds the warrior pose | stands in warrior pose | strikes a warrior pose | goes into warrior pose |
        poses like a warrior | does the yoga warrior | steps into warrior pose | gets into the warrior pose
    """,
    "touch_toes": """
        touches {the} toes | touches {the} toes with both hands | bends down to touch {the} toes | bends to the toes |
        bends down to the toes | bends over to touch {the} toes | bends forward to touch {the} toes |
        reaches for {the} toes | reaches down to {the} toes | reaches down to {the} feet | reaches for {the} feet |
        reaches down and touches {the} toes | bends down and touches {the} toes | bends over and touches {the} toes |
        leans down and touches {the} toes | leans down to touch {the} toes | stretches down to {the} toes |
        stretches down to {the} feet | does a toe touch | performs a toe touch | does a standing toe touch |
        does a forward fold | performs a forward fold | goes into a forward fold | folds forward |
        folds forward to the toes | folds over to the toes | folds down to touch {the} toes | touches {the} feet |
        touches {the} feet with both hands | tries to touch {the} toes | brings {the} hands to the toes |
        brings {the} hands down to the feet | puts {the} hands on {the} toes | lowers {the} hands to the toes |
        bends over until the hands reach the toes | bends at the hips to touch {the} toes |
        stretches {the} hamstrings | stretches the back of {the} legs | bends down to {the} feet |
        bends over to {the} feet | does a standing forward bend | taps {the} toes with both hands |
        touches {the} toes to stretch | reaches {the} toes with both hands | reaches {the} toes
    """,
    "side_bend": """
        bends to the {side} | bends sideways to the {side} | leans to the {side} | leans sideways to the {side} |
        does a side bend to the {side} | does a {side} side bend | makes a side bend to the {side} |
        performs a side bend to the {side} | bends {the} body to the {side} | bends {the} upper body to the {side} |
        bends {the} torso to the {side} | bends {the} trunk to the {side} | bends at the waist to the {side} |
        tilts to the {side} | tilts {the} body to the {side} | tilts {the} upper body to the {side} |
        tilts sideways to the {side} | leans {the} upper body to the {side} | leans {the} torso to the {side} |
        leans over to the {side} | bends over to the {side} | stretches to the {side} |
        stretches sideways to the {side} | does a side stretch to the {side} | makes a side stretch to the {side} |
        bends {side} | leans {side} | tilts {side} | bends sideways {side} | leans sideways {side} |
        bends {the} body {side} | does a sideways bend to the {side} | bows sideways to the {side} |
        curves {the} body to the {side} | inclines {the} body to the {side} | bends {the} waist to the {side} |
        bends sideways | bends to the side | leans to the side | leans sideways | does a side bend |
        makes a side bend | does a side stretch | stretches to the side | tilts {the} body to the side |
        tilts sideways | bends {the} upper body sideways
    """,
    "squat": """
        squats | squats down | squats down and stands up | does a squat | bends {the} knees into a squat |
        crouches down and gets up | goes into a squat and comes up | lowers into a squat and rises | does a knee bend |
        performs a squat | makes a squat | performs a knee bend | makes a knee bend | goes into a squat |
        goes down in a squat | drops into a squat | sinks into a squat | lowers into a squat | gets down into a squat |
        crouches | crouches down | crouches and rises | crouches and gets back up | squats and rises |
        squats and comes up again | squats and gets back up | squats down and gets up again |
        goes down into a squat and gets up | bends {the} knees and straightens up |
        bends {the} knees and comes back up | bends at the knees | ducks down and comes back up | ducks down |
        ducks and gets back up | sinks down and comes up | lowers {the} hips and rises | lowers {the} body and rises |
        hunkers down and gets up | does a bodyweight squat | exercises with a squat | squats with {the} arms out |
        squats with {the} arms in front | squats like a weightlifter | does a squat exercise | crouches to hide |
        ducks behind a wall | goes down on {the} haunches and rises | does a squat for {the} legs
    """,
    "sit_down": """
        sits down | takes a seat | sits on a chair | sits down on a chair | lowers into a seat | goes to sit | sits |
        gets seated | has a seat | plops down | plops down on a chair | plops onto the sofa | drops into a chair |
        drops into a seat | settles into a chair | settles down on a chair | settles into a seat | sinks into a chair |
        sinks into the sofa | sits on the sofa | sits down on the sofa | sits on the couch | sits down on the couch |
        sits on a bench | sits down on a bench | sits on a stool | sits down on a stool | sits down at the table |
        sits down at the desk | sits down to rest | sits down to eat | sits down to read | sits down and stays seated |
        sits down and rests | lowers onto a chair | lowers into a chair | lowers {the} body onto a seat |
        takes a seat on a chair | takes a seat on a bench | takes a place on the sofa | perches on a stool |
        goes to sit down | goes to take a seat | slumps into a chair | flops into a chair | sits down on a box |
        moves to a sitting position | goes from standing to sitting | gets into a chair | sits down in an armchair
    """,
    "stand_up": """
        stands up | gets up from a chair | rises from a seat | stands up from sitting | stands back up | gets up |
        rises to {the} feet | stands up from a chair | gets up from sitting | rises | rises up | gets to {the} feet |
        gets on {the} feet | gets back on {the} feet | rises from a chair | rises from sitting | rises out of a chair |
        gets out of a chair | gets out of the seat | gets up from the sofa | gets up off the couch |
        gets up from a bench | gets up from a stool | gets up from the table | gets up from a seat |
        gets up off a chair | stands up from the sofa | stands up from the couch | stands up from a bench |
        stands up from a seat | stands up from a stool | stands up from the table | rises out of the armchair |
        gets up out of the chair | jumps to {the} feet | leaps to {the} feet | springs to {the} feet |
        comes to {the} feet | comes up from a chair | comes up from sitting | goes from sitting to standing |
        moves from sitting to standing | moves to a standing position | pushes up from a chair |
        pushes up out of the seat | rises from the couch | stops sitting and stands up | stands up after sitting |
        gets up after sitting | gets up out of the armchair
    """,
    "sit_and_stand": """
        sits down and stands up | sits down and gets back up | takes a seat and rises again |
        sits on a chair and stands up again | sits briefly and stands up | sits and gets up again |
        sits down and stands back up | takes a seat and stands up | sits down and gets up | sits and stands up |
        sits down and rises | sits down and rises again | sits down and stands up again | sits down and gets up again |
        sits on a chair and gets up | sits on a chair and rises | sits down on a chair and stands up |
        sits down on a chair and gets up again | sits on the sofa and stands up | sits on the sofa and gets up again |
        sits on a bench and gets up | sits on a bench and stands up again | sits on a stool and rises |
        takes a seat and gets up | takes a seat and gets back up | takes a seat and stands up again |
        has a seat and gets up | has a seat and stands up again | has a seat and rises |
        sits for a moment and stands up | sits for a moment and gets up | sits briefly and rises |
        sits briefly and gets up again | rests on a chair and gets up | rests on a bench and stands up |
        plops down and gets up again | drops into a chair and gets up again | lowers into a seat and rises |
        lowers into a chair and stands up | settles into a chair and gets up | sits and rises again |
        sits down briefly and gets up | goes to sit and gets up again | does a sit-to-stand | performs a sit-to-stand |
        sits down on the couch and stands up
    """,
    "bow": """
        bows | takes a bow | bows forward | makes a bow | bends forward in a bow | gives a bow | bows politely |
        bends at the waist to bow | bows to someone | bows to the audience | bows to the crowd | bows to the king |
        bows to the queen | bows before the king | bows in front of the audience | bows in respect |
        bows with respect | bows in greeting | bows in thanks | bows to say thanks | bows {the} body |
        bows {the} upper body | bows at the waist | bows from the waist | bends at the waist | bends from the waist |
        bends forward at the waist | bends {the} upper body forward | leans forward in a bow | leans forward to bow |
        bends forward to bow | bends over in a bow | performs a bow | does a bow | greets with a bow |
        says thanks with a bow | shows respect with a bow | pays respect with a bow | bows like an actor |
        bows like a butler | bows after a show | takes a bow in front of the audience | takes a bow on stage |
        does a formal bow | makes a polite bow | gives a polite bow | takes a curtain call | takes a polite bow
    """,
    "kneel": """
        kneels on the {side} knee | kneels down on {the} {side} knee | goes down on the {side} knee |
        gets down on {the} {side} knee | lowers onto the {side} knee | drops to the {side} knee |
        takes a knee on the {side} | puts {the} {side} knee on the floor | kneels with the {side} knee on the floor |
        kneels down with the {side} knee | kneels down onto the {side} knee | drops onto {the} {side} knee |
        sinks to the {side} knee | sinks onto {the} {side} knee | goes onto {the} {side} knee |
        gets onto {the} {side} knee | gets on the {side} knee | falls to the {side} knee |
        lowers to {the} {side} knee | lowers {the} {side} knee to the floor | lowers the {side} knee to the ground |
        brings {the} {side} knee to the floor | brings the {side} knee down to the ground |
        sets {the} {side} knee on the ground | sets the {side} knee down | places {the} {side} knee on the floor |
        puts the {side} knee down | puts {the} {side} knee on the ground | rests on {the} {side} knee |
        kneels down with {the} {side} knee on the ground | kneels on the {side} leg | kneels down on the {side} leg |
        goes down on the {side} knee to propose | kneels to tie a shoe on the {side} knee |
        kneels down to propose on the {side} knee | comes down on the {side} knee | kneels | kneels down |
        takes a knee | goes down on one knee | gets down on one knee | drops to one knee | kneels on one knee |
        kneels to pray | kneels on the floor | kneels to propose
    """,
    "kneel_and_rise": """
        kneels on the {side} knee and stands up | kneels down on {the} {side} knee and gets up |
        goes down on the {side} knee and rises | gets down on {the} {side} knee and stands again |
        lowers onto the {side} knee and gets back up | drops to the {side} knee and gets up again |
        takes a knee on the {side} and rises | puts {the} {side} knee on the floor and gets back up |
        kneels on the {side} knee and rises | kneels on the {side} knee and gets up |
        kneels on {the} {side} knee and gets back up | kneels on the {side} knee and stands up again |
        kneels on {the} {side} knee and rises again | kneels down on the {side} knee and stands up |
        kneels down on {the} {side} knee and rises | kneels down on the {side} knee and gets back up |
        goes down on {the} {side} knee and stands up | goes down on the {side} knee and gets up again |
        gets down on the {side} knee and rises | gets down on {the} {side} knee and gets back up |
        gets down on the {side} knee and stands up | drops to {the} {side} knee and stands up |
        drops to the {side} knee and rises | drops onto {the} {side} knee and gets up |
        sinks to the {side} knee and rises | sinks to {the} {side} knee and gets up again |
        lowers onto {the} {side} knee and stands up | lowers to the {side} knee and rises again |
        lowers {the} {side} knee to the floor and rises | lowers the {side} knee to the ground and stands up |
        puts {the} {side} knee down and gets up again | puts the {side} knee on the ground and rises |
        takes a knee on the {side} and stands up | takes a knee on the {side} and gets back up |
        touches the floor with the {side} knee and rises | touches the ground with {the} {side} knee and gets up |
        kneels and stands up | kneels and gets up | kneels down and gets up again | kneels down and stands up |
        kneels down and rises | takes a knee and gets up again | goes down on one knee and rises |
        drops to one knee and gets up | kneels on one knee and stands up
    """,
    "kick": """
        kicks with the {side} leg | kicks with {the} {side} foot | kicks {the} {side} leg forward |
        does a {side} kick | makes a kick with the {side} foot | swings {the} {side} leg into a kick |
        kicks forward with the {side} leg | gives a kick with the {side} leg | kicks a ball with the {side} foot |
        kicks the ball with {the} {side} foot | kicks something with the {side} foot |
        kicks a football with the {side} leg | kicks a stone with {the} {side} foot |
        kicks at something with the {side} leg | kicks someone with the {side} foot | kicks out with the {side} leg |
        kicks out with {the} {side} foot | kicks the air with the {side} leg | kicks in the air with the {side} foot |
        does a kick with the {side} leg | does a kick with {the} {side} foot | does a front kick with the {side} leg |
        does a forward kick with the {side} leg | makes a front kick with {the} {side} foot |
        performs a kick with the {side} leg | performs a front kick with the {side} leg |
        delivers a kick with the {side} foot | lands a kick with the {side} leg | throws a kick with the {side} leg |
        throws a {side} kick | swings {the} {side} foot forward in a kick | swings the {side} leg to kick |
        shoots a ball with the {side} foot | strikes a ball with {the} {side} foot |
        kicks the door with the {side} foot | kicks {the} {side} foot out | kicks {the} {side} foot forward | kicks |
        kicks a ball | kicks the ball | kicks something | does a kick | throws a kick | kicks the air | kicks forward |
        kicks {the} leg forward | shoots at the goal | does a front kick | kicks a football | kicks a soccer ball
    """,
    "lunge": """
        lunges with the {side} leg | does a lunge with the {side} leg | steps into a lunge with the {side} foot |
        lunges forward on {the} {side} leg | makes a lunge with {the} {side} leg |
        steps forward into a lunge with the {side} leg | goes into a {side} lunge | does a {side} lunge |
        lunges forward with the {side} leg | lunges forward with {the} {side} foot | lunges ahead with the {side} leg |
        lunges with {the} {side} foot | lunges on the {side} leg | lunges onto {the} {side} foot |
        performs a lunge with the {side} leg | performs a {side} lunge | makes a {side} lunge | takes a {side} lunge |
        does a lunge with {the} {side} foot | does a forward lunge with the {side} leg |
        does a front lunge with the {side} leg | makes a forward lunge with the {side} foot |
        goes into a lunge with the {side} leg | drops into a lunge with the {side} leg |
        sinks into a lunge with {the} {side} leg in front | lunges with the {side} leg in front |
        lunges with {the} {side} foot ahead | lunges with the {side} knee bent | does a lunge on the {side} leg |
        does a lunge with the {side} leg in front | steps out into a lunge with {the} {side} foot |
        steps the {side} foot forward into a lunge | puts the {side} leg forward in a lunge |
        moves into a lunge with the {side} leg | exercises with a {side} lunge |
        lunges like a fencer with the {side} leg | lunges | lunges forward | does a lunge | performs a lunge |
        makes a lunge | goes into a lunge | steps into a lunge | does a forward lunge | lunges like a fencer
    """,
    "balance": """
        balances on the {side} leg | stands on the {side} leg | balances on {the} {side} foot |
        stands on only the {side} leg | keeps balance on the {side} leg |
        stands on {the} {side} foot with both arms out | lifts the {other} leg and balances |
        raises the {other} knee and holds it | stands on {the} {side} foot | stands on the {side} foot only |
        stands on just the {side} leg | balances on only the {side} leg | balances on just {the} {side} foot |
        stays on the {side} leg | stays balanced on the {side} leg | keeps {the} balance on the {side} foot |
        holds {the} balance on the {side} leg | stands like a flamingo on the {side} leg |
        balances like a flamingo on the {side} leg | stands like a stork on the {side} leg |
        poses like a flamingo on {the} {side} leg | stands with the {other} foot off the floor |
        stands with {the} {other} foot in the air | stands with the {other} leg up |
        stands with {the} {other} leg lifted | stands with the {other} knee raised | holds the {other} leg up |
        holds {the} {other} foot off the floor | holds up the {other} knee | keeps the {other} foot off the ground |
        lifts {the} {other} foot and balances | lifts the {other} foot and holds it |
        raises {the} {other} leg and balances | raises the {other} foot and keeps it up |
        balances with the {other} leg lifted | does a balance on the {side} leg | rests on the {side} leg alone |
        balances on one leg | stands on one leg | stands on one foot | balances on one foot |
        lifts one leg and balances | holds one leg up | balances | stands like a flamingo | keeps balance on one leg |
        stands like a stork | holds {the} balance on one leg
    """,
    "pick_up": """
        picks something up with the {side} hand | picks up an object with {the} {side} hand |
        bends down to pick something up with the {side} hand |
        reaches down with the {side} hand and picks something up |
        picks something up off the floor with {the} {side} hand |
        grabs something from the ground with the {side} hand | takes something from the floor with the {side} hand |
        lifts something off the floor with {the} {side} hand | picks up something with the {side} hand |
        picks up a coin with the {side} hand | picks up a pen with {the} {side} hand |
        picks up a key with the {side} hand | picks up a ball with {the} {side} hand |
        picks up a stone with the {side} hand | picks a coin up off the floor with the {side} hand |
        picks something up from the ground with the {side} hand |
        picks something from the floor with {the} {side} hand |
        picks an object up off the ground with the {side} hand |
        bends over to pick something up with {the} {side} hand |
        bends down and picks something up with the {side} hand |
        bends down and grabs something with {the} {side} hand | bends down and takes something with the {side} hand |
        leans down and picks something up with the {side} hand | stoops to pick something up with {the} {side} hand |
        reaches down to get something with the {side} hand | reaches to the floor with the {side} hand for something |
        grabs something off the floor with {the} {side} hand | grabs an object with the {side} hand from the floor |
        scoops something up with the {side} hand | scoops something off the ground with {the} {side} hand |
        fetches something from the floor with the {side} hand | collects something off the floor with the {side} hand |
        gets something from the floor with the {side} hand | gathers something up with the {side} hand |
        lifts something from the ground with the {side} hand | snatches something off the floor with the {side} hand |
        picks up a coin | picks up a coin off the floor | picks up a pen | picks up a key |
        bends down to pick up a coin | picks up a pebble | picks a flower | grabs a coin off the floor |
        picks up a phone from the floor
    """,
    "pick_up_both": """
        picks something up | picks something up with both hands | picks up a box | bends down to pick something up |
        picks something up off the floor | lifts something off the floor | takes something from the ground |
        reaches down and picks something up | picks up something | picks up an object |
        picks up something with both hands | picks something up from the floor | picks something up from the ground |
        picks up a box with both hands | picks up a box off the floor | picks up a crate |
        picks up a suitcase with both hands | picks up a parcel | picks up a chair | picks up something heavy |
        picks up a bag with both hands | picks up an object with both hands | picks a box up off the ground |
        lifts a box | lifts up a box | lifts a box off the floor | lifts a crate off the ground | lifts something up |
        lifts something from the ground | lifts something heavy off the floor | lifts an object with both hands |
        grabs something off the floor | grabs something off the floor with both hands | grabs a box from the ground |
        scoops something up | scoops something up with both hands | fetches something from the floor |
        collects something from the floor | gathers something up off the floor | gets something from the floor |
        takes a box from the floor | takes something off the floor with both hands |
        bends down and picks something up | bends down and lifts a box | bends over to pick something up |
        bends over and picks up a box | stoops to pick something up | leans down and grabs something |
        bends down to lift something | reaches to the floor with both hands for something
    """,
    "stretch": """
        stretches | stretches {the} arms | stretches upward | does a stretch | stretches both arms overhead |
        stretches {the} whole body | reaches up to stretch | takes a good stretch | stretches {the} body |
        stretches {the} back | stretches {the} muscles | stretches {the} limbs | stretches up | stretches upwards |
        stretches to the ceiling | stretches toward the sky | stretches {the} arms up | stretches {the} arms overhead |
        stretches {the} arms above {the} head | stretches {the} arms to the ceiling | stretches both arms |
        stretches both arms up | stretches both arms above {the} head | stretches out | stretches and yawns |
        yawns and stretches | stretches after waking up | stretches after sleep | stretches like a cat |
        stretches with both arms up | stretches with raised arms | has a stretch | has a good stretch |
        makes a stretch | performs a stretch | does some stretching | does a full body stretch |
        does a stretching exercise | does a stretch with both arms overhead | reaches up in a stretch |
        reaches for the sky to stretch | reaches overhead to stretch | lifts {the} arms to stretch |
        raises both arms to stretch | goes into a stretch | limbers up | stretches to warm up |
        stretches before training
    """,
    "jumping_jacks": """
        does jumping jacks | does star jumps | performs jumping jacks | makes jumping jacks |
        jumps with arms and legs apart | exercises with jumping jacks | performs star jumps | does some jumping jacks |
        does some star jumps | makes star jumps | makes some jumping jacks | performs some jumping jacks |
        performs some star jumps | exercises with star jumps | warms up with jumping jacks | warms up with star jumps |
        trains with jumping jacks | works out with jumping jacks | works out with star jumps |
        keeps doing jumping jacks | keeps doing star jumps | does jumping jack exercises | does the jumping jack |
        does side-straddle hops | does jacks | jumps like a jumping jack | moves like a jumping jack |
        jumps like a star | jumps into a star shape | does jumps into a star shape | jumps spreading arms and legs |
        jumps spreading {the} arms and legs | jumps with spread arms and legs | jumps opening {the} arms and legs |
        jumps with {the} arms and legs out | jumps with legs apart and arms overhead | does jumping jacks in place |
        does jumping jacks on the spot | does jumping jacks for exercise | does jumping jacks to warm up |
        does star jumps on the spot | does star jumps to warm up | does jumping-jacks |
        performs jumping jacks on the spot | exercises doing star jumps
    """,
}
