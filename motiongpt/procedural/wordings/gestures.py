"""Phrases of arms and head. `procedural/phrases.py` says how a list is written."""

GESTURES = {
    "wave": """
        waves the {side} hand | waves with {the} {side} hand | waves {the} {side} hand |
        raises {the} {side} hand and waves | waves hello with the {side} hand | gives a wave with the {side} hand |
        waves {the} {side} arm | greets with a wave of the {side} hand | waves goodbye with {the} {side} hand |
        waves at someone with the {side} hand | waves hello using {the} {side} hand |
        lifts {the} {side} hand and waves | waves with {the} {side} arm | waves with the {side} hand |
        waves to someone with {the} {side} hand | waves at a friend with the {side} hand |
        waves to a friend with {the} {side} hand | waves to the crowd with the {side} hand |
        waves at the camera with the {side} hand | waves goodbye using the {side} hand |
        waves hi with the {side} hand | waves bye with {the} {side} hand | says hi with the {side} hand |
        says hello with a wave of the {side} hand | says goodbye with {the} {side} hand |
        greets someone with the {side} hand | greets a friend with {the} {side} hand |
        makes a wave with the {side} hand | does a wave with {the} {side} hand | does a {side} hand wave |
        raises the {side} arm and waves | lifts {the} {side} arm and waves | puts up the {side} hand and waves |
        swings {the} {side} hand in greeting | moves {the} {side} hand in a wave | uses {the} {side} hand to wave |
        hails someone with the {side} hand | waves | waves hello | waves goodbye | waves a hand | waves {the} hand |
        waves at someone | waves at a friend | says hi | says hello | greets someone | gives a wave |
        waves to the crowd | says goodbye | greets with a wave
    """,
    "wave_both": """
        waves both hands | waves both arms | waves with both hands | waves with both arms | waves {the} arms |
        waves {the} hands | raises both hands and waves | raises both arms and waves | lifts both hands and waves |
        lifts both arms and waves | raises {the} arms and waves | puts both hands up and waves |
        waves hello with both hands | waves goodbye with both hands | waves hi with both hands |
        waves bye with both arms | waves at someone with both hands | waves to someone with both arms |
        waves at a friend with both hands | waves to the crowd with both hands | waves to the crowd with both arms |
        waves at the camera with both hands | waves {the} arms in the air | waves {the} hands in the air |
        waves {the} arms overhead | waves {the} hands overhead | waves both hands in the air |
        waves both arms in the air | waves both arms overhead | waves both hands overhead |
        waves both hands above {the} head | waves both arms above {the} head | waves {the} arms to get attention |
        waves both arms for help | waves {the} arms for help | gives a wave with both hands |
        makes a wave with both hands | does a wave with both hands | greets with both hands |
        greets someone with both hands | says hi with both hands | says hello with both arms |
        says goodbye with both hands | signals with both arms | swings both hands in greeting |
        moves both hands in a wave | uses both hands to wave | waves both hands hello
    """,
    "punch": """
        punches with the {side} hand | throws a {side} punch | punches with {the} {side} fist |
        makes a punch with the {side} arm | punches forward with {the} {side} hand | strikes with the {side} fist |
        punches the air with the {side} hand | throws a punch with the {side} hand | does a {side} jab |
        punches with the {side} arm | punches ahead with {the} {side} fist | punches forward with the {side} fist |
        throws a punch with {the} {side} fist | throws a {side} jab | throws a jab with the {side} hand |
        jabs with the {side} hand | jabs with {the} {side} fist | jabs forward with the {side} hand |
        hits with the {side} hand | hits with {the} {side} fist | hits out with the {side} fist |
        hits something with the {side} fist | strikes out with the {side} hand |
        strikes forward with {the} {side} fist | strikes with {the} {side} hand | swings {the} {side} fist |
        swings the {side} fist forward | swings a fist with the {side} arm | punches something with the {side} hand |
        punches someone with {the} {side} fist | punches a bag with the {side} hand |
        punches the air with {the} {side} fist | does a {side} punch | does a punch with the {side} hand |
        makes a {side} punch | gives a punch with {the} {side} hand | delivers a {side} punch |
        lands a punch with the {side} fist | performs a punch with the {side} hand |
        thrusts {the} {side} fist forward | punches | throws a punch | throws a jab | punches the air | swings a fist |
        hits something | strikes with a fist | punches someone | does a punch | punches forward | jabs
    """,
    "boxing": """
        boxes | shadowboxes | does boxing | does some boxing | does shadow boxing | practices boxing |
        practices punches | throws punches | throws some punches | throws a flurry of punches |
        throws a series of punches | throws a combination of punches | throws punches with both hands |
        throws punches with both fists | throws punches in the air | throws punches from a guard stance |
        throws jabs with both hands | throws alternating punches | punches with both hands in turn |
        punches with both fists in turn | punches with alternating hands | punches with alternating fists |
        punches with one fist after the other | punches the air with both fists | punches a bag with both fists |
        punches with both hands | hits a punching bag | hits the heavy bag with both fists | works the punching bag |
        trains in boxing | trains like a boxer | moves like a boxer | punches like a boxer | fights like a boxer |
        fights an invisible opponent | fights with {the} fists | fights in a boxing stance | fights | spars |
        spars with someone | spars in the air | trades punches | boxes in the air | boxes the air |
        boxes against a shadow | boxes an opponent | boxes with both fists | boxes in the ring | goes boxing |
        puts up {the} fists and boxes
    """,
    "raise_arm": """
        raises the {side} arm | raises {the} {side} hand | lifts the {side} arm | lifts {the} {side} arm up |
        puts {the} {side} hand up | holds up {the} {side} arm | reaches up with the {side} hand |
        raises {the} {side} arm overhead | raises {the} {side} arm | raises the {side} hand |
        raises the {side} arm up | raises {the} {side} hand in the air | raises the {side} arm into the air |
        raises {the} {side} hand overhead | raises {the} {side} hand above {the} head |
        raises the {side} arm above {the} head | lifts {the} {side} hand | lifts the {side} hand up |
        lifts {the} {side} hand overhead | lifts the {side} arm into the air |
        lifts {the} {side} arm above {the} head | puts the {side} arm up | puts up {the} {side} hand |
        puts {the} {side} arm in the air | puts {the} {side} hand in the air | holds {the} {side} hand up |
        holds the {side} arm up | holds up the {side} hand | holds {the} {side} arm overhead |
        reaches up with {the} {side} arm | reaches for the sky with the {side} hand |
        reaches overhead with the {side} arm | stretches the {side} arm up | stretches {the} {side} hand upward |
        brings {the} {side} arm up | brings the {side} hand overhead | extends {the} {side} arm upward |
        moves {the} {side} arm up | sticks {the} {side} hand up | sticks the {side} arm in the air | raises a hand |
        raises an arm | raises {the} hand | raises {the} arm | lifts {the} arm | raises one hand | raises one arm |
        lifts an arm | puts a hand up | holds up a hand | puts up a hand | raises a hand in class |
        raises a hand to ask a question | lifts one arm
    """,
    "raise_both_arms": """
        raises both arms | raises both hands | raises {the} arms | puts {the} arms up | lifts both arms |
        lifts {the} arms up | puts both hands up | holds up both arms | reaches up with both hands |
        raises {the} arms overhead | raises {the} hands | lifts {the} arms | lifts {the} hands | lifts both hands |
        lifts both hands up | lifts both arms up | lifts {the} hands up | raises both arms up | raises both hands up |
        raises both arms overhead | raises both hands overhead | raises both arms in the air |
        raises both hands in the air | raises {the} arms into the air | raises {the} hands above {the} head |
        raises both arms above {the} head | lifts both arms overhead | lifts both hands above {the} head |
        lifts {the} arms above {the} head | puts {the} hands up | puts both arms up | puts up both hands |
        puts {the} hands in the air | puts both arms in the air | throws up both arms | throws {the} hands up |
        throws {the} arms in the air | holds {the} arms up | holds both hands up | holds up {the} hands |
        holds {the} arms overhead | reaches up with both arms | reaches for the sky |
        reaches for the sky with both hands | surrenders with both hands up | surrenders | cheers with both arms up |
        celebrates with both arms up | celebrates with raised arms | brings both arms overhead | sticks both arms up
    """,
    "clap": """
        claps | claps {the} hands | claps both hands | does a clap | claps with both hands | applauds |
        puts {the} hands together to clap | claps in front of the chest | claps {the} hands together |
        claps both hands together | claps for someone | claps for the band | claps for the team |
        claps for the singer | claps for the winner | claps in applause | claps to the music | claps to the beat |
        claps along | claps along with the music | claps for the actors | claps like an audience |
        claps in front of the body | claps in place | claps at a show | claps at the end of the show | keeps clapping |
        keeps clapping {the} hands | does some clapping | applauds someone | applauds the band | applauds the team |
        applauds the speaker | applauds the show | gives applause | gives a round of applause | gives some applause |
        gives a hand clap | gives an ovation | breaks into applause | makes clapping noises |
        brings {the} hands together in a clap | slaps {the} hands together | slaps {the} palms together |
        strikes {the} palms together | strikes {the} hands together | hits {the} hands together |
        smacks {the} hands together | cheers by clapping | performs a clap
    """,
    "throw": """
        throws something with the {side} hand | throws a ball with {the} {side} hand | throws with the {side} arm |
        throws an object with {the} {side} arm | makes a throw with the {side} hand |
        pitches a ball with the {side} hand | tosses something with {the} {side} hand | does a {side} throw |
        throws with {the} {side} hand | throws a stone with the {side} hand | throws a ball with the {side} arm |
        throws a rock with {the} {side} hand | throws a snowball with the {side} hand |
        throws a stick with {the} {side} hand | throws a frisbee with the {side} hand |
        throws something away with the {side} hand | throws something forward with the {side} hand |
        throws something ahead with {the} {side} arm | throws something overhand with the {side} arm |
        throws a ball overhand with {the} {side} arm | tosses a ball with the {side} hand |
        tosses a stone with {the} {side} hand | tosses something forward with the {side} arm |
        hurls something with the {side} arm | hurls a ball with {the} {side} hand |
        hurls a stone with the {side} hand | flings something with the {side} hand |
        flings an object with {the} {side} arm | lobs a ball with the {side} hand |
        lobs something with {the} {side} hand | chucks something with the {side} hand |
        chucks a stone with {the} {side} hand | slings something with the {side} arm | pitches with the {side} arm |
        pitches a baseball with {the} {side} hand | does a throw with the {side} arm | makes a {side} throw |
        performs a throw with the {side} hand | tosses something overhand with the {side} arm | throws |
        throws something | throws a ball | throws a stone | tosses something | tosses a ball | hurls a ball |
        pitches a ball | lobs a ball | chucks a stone | throws a snowball | throws a baseball | throws a paper plane |
        does a throw
    """,
    "point": """
        points forward with the {side} hand | points ahead with {the} {side} hand | points with the {side} arm |
        points at something with the {side} hand | holds {the} {side} arm out and points |
        stretches {the} {side} arm forward to point | points straight ahead with the {side} arm |
        gestures ahead with {the} {side} arm | points with the {side} hand | points with {the} {side} finger |
        points with {the} {side} index finger | points forward with {the} {side} arm |
        points ahead with the {side} arm | points to the front with the {side} hand |
        points to the front with {the} {side} arm | points at someone with the {side} hand |
        points at someone with {the} {side} arm | points to something with {the} {side} hand |
        points to someone with the {side} hand | points at the door with the {side} hand |
        points at the camera with {the} {side} hand | points the way with the {side} hand |
        shows the way with {the} {side} arm | shows the way with the {side} hand |
        points out something with the {side} hand | points something out with {the} {side} arm |
        indicates something with the {side} hand | indicates the way with {the} {side} arm |
        indicates the direction with the {side} hand | gestures forward with the {side} hand |
        gestures at something with {the} {side} arm | holds out the {side} arm to point |
        extends {the} {side} arm to point | extends the {side} arm and points | raises the {side} arm and points |
        lifts {the} {side} arm and points ahead | aims {the} {side} hand at something | aims the {side} finger ahead |
        aims {the} {side} arm ahead | makes a pointing gesture with the {side} hand | points | points forward |
        points ahead | points at something | points at someone | indicates something | points a finger |
        points to the front | points the way | shows the way | points straight ahead
    """,
    "hands_on_hips": """
        puts both hands on the hips | puts {the} hands on {the} hips | places {the} hands on the hips |
        rests both hands on the hips | stands with hands on hips | holds {the} hips with both hands |
        sets {the} hands on {the} waist | puts both hands on the waist | places both hands on the hips |
        places both hands on {the} waist | places {the} hands on the waist | rests {the} hands on {the} hips |
        rests {the} hands on the waist | rests both hands on {the} waist | sets both hands on {the} hips |
        sets {the} hands on the hips | lays {the} hands on the hips | lays both hands on {the} hips |
        holds {the} waist with both hands | holds both hands on the hips | holds {the} hands at the hips |
        keeps {the} hands on the hips | keeps both hands on {the} hips | keeps {the} hands at the waist |
        plants both hands on the hips | plants {the} hands on {the} hips | brings {the} hands to the hips |
        brings both hands to {the} hips | brings both hands to the waist | moves {the} hands to the hips |
        moves both hands to {the} waist | stands with both hands on the hips | stands with {the} hands on the hips |
        stands with hands on the waist | stands with arms akimbo | puts {the} arms akimbo | holds {the} arms akimbo |
        poses with hands on hips | poses with both hands on the hips | poses like a superhero |
        stands like a superhero | strikes a superhero pose | puts hands on hips | puts the hands at the hips |
        props both hands on the hips | props {the} hands on {the} hips | presses {the} hands to the hips
    """,
    "nod": """
        nods | nods {the} head | does a nod | nods in agreement | nods yes | moves {the} head up and down |
        gives a nod | bobs {the} head | nods {the} head yes | nods {the} head up and down | nods in approval |
        nods approvingly | nods in understanding | nods with the head | nods at someone | nods to someone |
        nods to a friend | nods hello | nods politely | nods to say yes | nods for yes | nods to the music |
        nods along | nods to the beat | keeps nodding | keeps nodding {the} head | agrees | agrees with a nod |
        agrees by nodding | says yes | says yes with a nod | says yes with {the} head | shows agreement with a nod |
        shows agreement by nodding | signals yes with {the} head | answers yes | answers with a nod |
        gives a nod of the head | gives a nod of approval | makes a nod | greets with a nod |
        bobs {the} head up and down | tips {the} head up and down | tilts {the} head up and down |
        moves {the} head to say yes | approves with a nod | confirms with a nod | lowers and lifts {the} head
    """,
    "shake_head": """
        shakes the head | shakes {the} head | shakes {the} head no | moves {the} head from side to side |
        turns {the} head left and right | shakes {the} head in disagreement | gives a shake of the head |
        swings {the} head from side to side | shakes {the} head from side to side | shakes {the} head to say no |
        shakes {the} head in denial | shakes {the} head in disbelief | shakes {the} head in refusal |
        shakes {the} head in disapproval | shakes {the} head for no | shakes {the} head at someone |
        shakes {the} head back and forth | shakes {the} head sideways | shakes {the} head in protest |
        keeps shaking {the} head | does a head shake | does a shake of the head | makes a shake of the head |
        makes a head shake | gives a head shake | gives a shake of {the} head | says no | says no with {the} head |
        says no by shaking {the} head | signals no with {the} head | answers no | answers no with {the} head |
        answers with a shake of the head | refuses | refuses with a shake of the head | refuses by shaking {the} head |
        disagrees | disagrees by shaking {the} head | disagrees with a shake of the head |
        denies by shaking {the} head | declines | declines with a shake of the head |
        rejects something with a head shake | moves {the} head to say no | moves {the} head back and forth |
        turns {the} head from side to side | turns {the} head back and forth | swings {the} head back and forth
    """,
    "look": """
        looks to the {side} | looks {side} | turns {the} head to the {side} | turns the head {side} |
        glances to the {side} | glances {side} | glances over to the {side} | gazes to the {side} | gazes {side} |
        peeks to the {side} | peeks {side} | peers to the {side} | peers {side} | stares to the {side} |
        looks over to the {side} | looks toward the {side} | looks at something on the {side} |
        looks at someone on the {side} | looks out to the {side} | looks off to the {side} |
        looks over {the} {side} shoulder | glances over {the} {side} shoulder | takes a look to the {side} |
        has a look to the {side} | throws a look to the {side} | throws a glance to the {side} |
        sends a glance to the {side} | takes a glance {side} | steals a glance to the {side} | checks the {side} side |
        checks to the {side} | turns {the} face to the {side} | turns {the} face {side} |
        turns {the} gaze to the {side} | turns {the} eyes to the {side} | moves {the} head to the {side} |
        rotates {the} head to the {side} | rotates the head {side} | swivels {the} head to the {side} |
        faces the {side} with {the} head | turns {the} head to look {side} | looks to the side | looks sideways |
        glances to the side | glances sideways | turns {the} head | turns {the} head to the side | peeks to the side |
        looks over {the} shoulder | takes a look to the side | turns {the} face to the side
    """,
    "salute": """
        salutes with the {side} hand | salutes with {the} {side} arm | gives a salute with the {side} hand |
        makes a salute with the {side} hand | does a salute with {the} {side} hand | does a {side} hand salute |
        gives a {side} hand salute | performs a salute with the {side} hand | raises {the} {side} hand in a salute |
        raises the {side} hand to salute | raises {the} {side} arm in a salute | lifts {the} {side} hand to salute |
        lifts the {side} hand in a salute | brings {the} {side} hand to the brow |
        brings the {side} hand to {the} forehead | puts {the} {side} hand to {the} forehead |
        puts the {side} hand to {the} brow | raises {the} {side} hand to the brow |
        raises the {side} hand to {the} forehead | lifts {the} {side} hand to {the} brow |
        lifts the {side} hand to the forehead | holds {the} {side} hand to the brow |
        holds the {side} hand at {the} forehead in salute | touches {the} forehead with the {side} hand |
        touches {the} brow with the {side} hand | salutes someone with the {side} hand |
        salutes an officer with the {side} hand | salutes the flag with {the} {side} hand |
        salutes the captain with the {side} hand | salutes the general with {the} {side} hand |
        salutes like a soldier with the {side} hand | greets like a soldier with the {side} hand |
        gives a military salute with the {side} hand | makes a military salute with {the} {side} hand |
        does a military salute with the {side} hand | gives someone a salute with the {side} hand |
        uses {the} {side} hand to salute | salutes | gives a salute | makes a salute | salutes like a soldier |
        salutes the flag | salutes an officer | does a military salute | gives a military salute |
        salutes the captain | greets like a soldier
    """,
    "shrug": """
        shrugs | shrugs {the} shoulders | shrugs both shoulders | raises {the} shoulders | lifts {the} shoulders |
        raises both shoulders | lifts both shoulders | gives a shrug | makes a shrug | does a shrug |
        gives a shoulder shrug | does a shoulder shrug | makes a shoulder shrug | performs a shrug |
        shrugs with both shoulders | shrugs with {the} shoulders | pulls up {the} shoulders |
        pulls {the} shoulders up | draws up {the} shoulders | moves {the} shoulders up and down |
        raises and lowers {the} shoulders | lifts and drops {the} shoulders | hunches {the} shoulders in a shrug |
        shrugs in doubt | shrugs in confusion | shrugs it off | shrugs something off | shrugs at someone |
        shrugs as an answer | shrugs to say who knows | shrugs with indifference | shrugs with a clueless look |
        shrugs in reply | answers with a shrug | replies with a shrug | reacts with a shrug | responds with a shrug |
        does not know | does not know the answer | has no idea | has no clue | shows ignorance with a shrug |
        expresses doubt with a shrug | shrugs to say maybe | signals doubt with a shrug
    """,
    "drink": """
        drinks with the {side} hand | drinks something with the {side} hand | drinks from a cup with the {side} hand |
        drinks from a glass with {the} {side} hand | drinks from a bottle with the {side} hand |
        drinks from a mug with {the} {side} hand | drinks water with the {side} hand |
        drinks coffee with {the} {side} hand | drinks tea with the {side} hand |
        drinks out of a cup with {the} {side} hand | takes a drink with the {side} hand |
        takes a sip with the {side} hand | takes a sip from a cup with {the} {side} hand |
        takes a sip of water with the {side} hand | takes a gulp with the {side} hand |
        has a drink with {the} {side} hand | has a sip with the {side} hand | sips from a cup with the {side} hand |
        sips coffee with {the} {side} hand | sips something with the {side} hand | sips tea with the {side} hand |
        gulps something with {the} {side} hand | raises a cup to {the} lips with the {side} hand |
        raises a glass to {the} mouth with the {side} hand | lifts a cup to {the} mouth with {the} {side} hand |
        lifts a bottle to {the} lips with the {side} hand | brings a cup to {the} lips with the {side} hand |
        brings a glass to {the} mouth with the {side} hand | brings {the} {side} hand to {the} mouth |
        brings the {side} hand to {the} lips | moves {the} {side} hand to {the} mouth |
        raises {the} {side} hand to {the} mouth | lifts the {side} hand to {the} mouth |
        lifts {the} {side} hand to drink | raises the {side} hand to drink |
        puts a cup to {the} mouth with the {side} hand | uses {the} {side} hand to drink |
        pretends to drink with the {side} hand | drinks | takes a drink | takes a sip | drinks something |
        drinks from a cup | drinks water | has a drink | drinks a cup of coffee | raises a cup to {the} lips |
        sips from a cup | drinks from a bottle | drinks tea
    """,
}
