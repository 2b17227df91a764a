#!/usr/bin/env python3
"""Writes the files of tests/data/metrics that blip/metrics' tests and tests/e2e/eval_test.py read.

    python3 tools/make_metric_fixtures.py [tests/data/metrics]

Needs pycocoevalcap 1.2 and Java. Captions are read with its tokenizer (Stanford's PTBTokenizer) and
scored with its BLEU, ROUGE-L and CIDEr, METEOR and SPICE left out.
"""
import json
import pathlib
import random
import sys

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

# coco-caption's debugging example (misc/debug.ref.json, misc/debug.hypo.json): COCO's own captions.
EXAMPLE = {
    451102: ("THERE ARE PEOLE SITTING IN A WAITNG ROOM", "Group of people sitting in a waiting room with a vending machine.", "Several people seated in chairs in a waiting room with a Snapple vending machine in the far corner of the room.", "A group of people in a waiting room on their cell phones.", "People sitting in chairs in a waiting room."),
    52104: ("A motorcycle, wrapped in plastic, is parked on the street.", "A motorcycle is parked next to a stop sign in front of a house.", "Motorcycle wrapped in cover in front of an apartment.", "Acorss the street there are bags in front of a house", "A motor bike parked in front of a building with a cover on it"),
    414860: ("A room is furnished with a large bed and chairs.", "A large brown bed with white pillows and tan sheets.", "This is a master bedroom complete with a matching bedroom furniture set.", "A large sleigh bed in a hotel room.", "A bed sits in a room with a whole wall as a mirror."),
    97564: ("A silver airplane that is on supports in a museum.", "a large silver plane is put on display at a museum", "A small metal plane with a man sitting inside of it.", "a silver black and white airplane on display", "a very old airplane that is inside a buliding"),
    318210: ("a man throwing a tennis ball and others watching the game", "A man holding a baseball wearing a catchers mitt.", "A baseball player is posed for throwing a ball during a game.", "a pitcher getting ready for a baseball game", "A pitcher getting ready to throw pitch at a game."),
    177722: ("Two small ducks swimming side by side through a pond.", "Two ducks swim through a grass filled pond.", "two pretty purple ducks swimming together down a stream of water", "Two ducks floating in a green, grassy pond.", "Two ducks swimming in a grassy pond together"),
    388770: ("A very cute small boy with a nice smile.", "A kid standing in a room by a table.", "A toddler smiles in front of a toy train set on a table.", "A young boy smiles next to a toy train.", "A blonde boy stands looking happily at the camera"),
    163378: ("A group of people riding on a train.", "A red caboose with a man hanging off the back of it.", "A red train at a station with people inside and a conductor standing on the front.", "A peerson standing on the end of a trolley.", "A man stands at the back of a train coach with others seated inside"),
    292726: ("zebras walking in line in the shade", "There are three zebras standing on the edge of some trees", "A group of zebra standing on top of a lush green field.", "Several zebras walking in the shade near some trees.", "Three zebras escape the sun in the shade of a line of trees."),
    402925: ("A laptop that is sitting open on top of a bed.", "A laptop charging on top of a bed", "a laptop is sitting on a blue bed", "a laptop that is sitting on top of a bed", "A laptop sitting on top of a bed with the desktop open."),
}

HARD = """
A man's dog can't sit on the bench, and it won't move.
"Hello," she said, 'I'm gonna go' ... to the U.S. The end.
We're sure they've seen what he'd done; she'll say you're late, I'm not.
Don't, doesn't, isn't, couldn't've, shouldn't, ain't, DON'T, Can`t, it’s, don’t, don‘t
rock'n'roll o'clock y'all 'twas 'tis c'mon ma'am O'Reilly's D'Artagnan l'eau the dogs' bowls, James's
cannot gonna gotta lemme gimme wanna CANNOT Gonna's
Mr. Smith, Mrs. Jones, Ms. Lee, Dr. Who and Prof. X vs. Gen. Lee on Mt. Fuji, St. John's Ave. and Ft. Worth
Acme Inc. Is here. Acme Inc. is here. Acme Corp., Ltd., Co. and Bros. etc. End Jr. Sr. Ph.D. Ed.D.
On Mon. Jan. 5th, Tues. Feb. 6, Sept. 1990 and Dec. 31st at 10:30 a.m. or 5 p.m.
In Calif. and Mass. they said Miss. and Ill. are Ore. or ore. and Pa. or pa. but No. 5, no. 5, Fig. 3, pp. 12, ca. 1990
J.F.K. went to the U.N. He said U.S.A. is big. I. The U.S. is it. e.g. this, i.e. that, a.k.a. Bob, T.V. t.v. TV
C++ c++ C# f# c# AT&T R&D S&P-500 AT&amp;T Cap'n c'est cont'd nor'easter ev'ry li'l s'mores dunkin' somethin'
It costs $5.00, US$5, £6, €7, 8¢, ¥9, 50%, #1, 1,000,000, -5, +3.2, .5, 3.14.15, 1:2:3
3/4 of 1 1/2 cups, ½ and ¼, ⅓ or ⅞ of 24/7, 12/25/2010, 2-3-99, 5'11", 4x4, 5ft., 1st, 2nd, '90s, 1990's, 90s
Call 555-123-4567, (555) 123-4567, +1 555 123 4567, 555.123.4567 or 1-800-FLOWERS
Visit http://www.example.com/a?b=c, https://x.org/y_z. www.foo.com/bar, foo.com or bar.Net and foo@bar.com, <me@x.org>
@twitter #hashtag #1 @ # ## @@ @_me file.txt, image.jpeg. photo.PNG a.b.c x.py;
a <b class="x y">bold</b> <br/> <br> </p> <!-- comment --> <a href='x'> <3 < > << >> 5 < 6 > 4
&amp; &lt; &gt; &quot;quoted&quot; &apos;s &nbsp; &eacute;t&eacute; &mdash; &ndash; &#39; it&apos;s
“quoted” ‘single’ «guillemets» ‹x› ‚low‘ „low“ `back' ``latex'' "straight" 'single'
- -- --- ---- ----- – — ― a--b a - b black-and-white well-known t-shirt X-ray 3-D twenty-one e-mail co-ed
... .... ..... ...... . . . … end... start
! !! ? ?? ?! !? ; : , ,, :: ;; * ** *** \\* + = == ~ ^ | \\ / // and/or his/her/their w/ w/o w/out
:) ;-) :-( :D :P :p =) :o) >:( :'( :] :[ :{ :@ ^_^ (^_^) -_- >_< x_x (-_-) :)a :D5 ;) .
( ) [ ] { } (a) [b] {c} -LRB- -lrb- -RRB- (hello) [sic] {x}
café naïve Ångström élan Zürich Straße ŒUVRE 中文字符 日本語 русский язык Ελλάς ΟΔΟΣ İstanbul ıssız ſtraße
🙂 a🙂b 👍🏽 👨‍👩‍👧 flags 🇩🇪 ☃ ★ ™ © ® ° • · † ‡ § ¶ ← ∞ ² x² H₂O ⁺¹ ﬁre ｆｕｌｌ　ｗｉｄｔｈ
soft­hyphen co­op no\u00a0break thin\u2009space zero\u200bwidth \ufeffbom word\u2060joiner
a.b c.d end.The start!The what?No one,two three;four five:six seven,8 9,10 11.12
New$ A$5 $ $$ %5 5% 5 % &a a& a&b A&B A+B a+b A/B A\\/B
pro-life anti-war non-U.S. Sino-U.S. U.S.-based U.S.-U.K. Canada-U.S.
it's'it's ''double'' ' '' ''' '''' 's 'S 're 'nt n't N'T 'm 'll 've 'd
don't-stop can't/won't isn't. aren't, wasn't! weren't? o'clock. 'em 'Em 'n' 'N' 'cause 'til 'till
_under_score_ __init__ snake_case CamelCase iPhone eBay McDonald's
10am 10 a.m 10 am. 10a.m. 5pm. 20lbs. 6in. 5'x7' 8\" 8"x10" 100°C 5€ 5$
Dr.Smith Mr.T Inc.A Co.uk x.Y A.B.C. A.B.C a.b. e.g i.e etc.) etc., (etc.) vs.) Jan.) "Jan."
The sign says STOP!!! and the man says "no..." while the dog (a poodle) sleeps.
It is 5 p.m. He left. It is 5 p.m. in Rome. She is from the U.S. She left the U.S. yesterday.
pty. ltd. pte. ltd. Co. Ltd. co. limited est. 1990 tel. 555 ext. 12 sq. ft.
a  b   c\td  leading and trailing   
"""

PIECES = """a an the The I I'm it's It's dog dogs' man's can't won't don't ain't cannot gonna lemme 'twas y'all o'clock 'n' c'mon
O'Reilly Mr. Mrs. Dr. St. Co. Inc. Ltd. Jan. Sept. Mon. vs. etc. e.g. a.m. p.m. U.S. U.S.A. U.K. Ph.D. No. no. Fig. pp. ca. tel.
Calif. Mass. Miss. Pa. Pty. pte. Bros. Jr. 5 10 3.5 1,000 -5 +3 .5 3/4 1/2 12/25/2010 10:30 5th 1990s '90s $ $5 US$5 £6 € % 50% # #1
#tag @me @ foo@bar.com http://a.com/x?y=1 www.foo.com foo.com file.txt image.jpg. a.zip ( ) [ ] { } < > << <b> </b> <br/> &amp; &lt;
&quot; &apos; &nbsp; &eacute; &mdash; AT&T R&D c++ C# - -- --- ----- _ black-and-white t-shirt x-ray 3-D -LRB- pro- / and/or w/ \\ | ~ ^ *
** + = ! !! !? ? . .. ... .... , ; : :) ;-) :-( :D =) ^_^ (^_^) -_- " '' ` `` ' “ ” ‘ ’ « » – — … · • ° ² ½ ™ © café naïve 中文 русский
🙂 a🙂b soft­hyphen 1st 555-123-4567 TV T.V. iPhone don`t it’s IT'S CAN'T cont'd Cap'n 9 a.b.c x.y He She In At James' U.S.-based 1.2.3
10,000. $1.50/lb 4x4 4'11" 5ft. #5 fig.5""".split()

SUBJECTS = "A man|Two young women|A group of people|The black-and-white cat|A dog's owner|An elderly couple|Three kids|A woman in a red coat|Some zebras|A baseball player|A small child|The chef|A surfer|Several sheep|A train|A double-decker bus|Mr. Smith's horse".split("|")
VERBS = "is riding|are sitting on|stands next to|is looking at|holding|walking past|playing with|is parked near|jumping over|is about to eat|doesn't like|posing in front of|sleeps under|carrying".split("|")
OBJECTS = "a wooden bench|the beach|a large pizza|a skateboard|some green trees|a stop sign|a laptop computer|an umbrella|a bowl of fruit|a big wave|the U.S. flag|a tennis court|a red fire hydrant|a kitchen table|two other dogs|a plate of food|a street sign (in Spanish)|a birthday cake".split("|")
TAILS = "|on a sunny day|at night|in the snow|while others watch|with a helmet on|near the water's edge|at 5 p.m.|in a city street|, smiling|... maybe|in black & white|and a 10-speed bike|for $5".split("|")
ENDS = [".", ".", "", "", "!", " .", "?"]


def sentence(rng):
    words = " ".join(rng.choice(part) for part in (SUBJECTS, VERBS, OBJECTS, TAILS))
    return (words.lower() if rng.random() < 0.3 else words) + rng.choice(ENDS)


def varied(rng, text):
    """`text` with a few words lost, swapped or repeated: captions of one picture are alike."""
    words = text.split()
    for _ in range(rng.randrange(4)):
        i = rng.randrange(len(words))
        change = rng.randrange(4)
        if change == 0 and len(words) > 1:
            del words[i]
        elif change == 1:
            words.insert(i, words[i])
        elif change == 2:
            words[i] = rng.choice(rng.choice((SUBJECTS, VERBS, OBJECTS))).split()[-1]
        else:
            words += rng.choice(OBJECTS).split()
    return " ".join(words)


def pictures(rng):
    """Picture ids with a candidate and references: coco-caption's example, then sentences made up here."""
    made = dict(EXAMPLE)
    for i in range(300):
        base = sentence(rng)
        made[1000 + 7 * i] = tuple(varied(rng, base) if rng.random() < 0.7 else sentence(rng) for _ in range(rng.choice((2, 5, 6, 6, 6, 7))))
    made[9001] = ("", "a caption that was left empty", "nothing was said")
    made[9002] = ("...!", "only marks", "?!")
    made[9003] = ("one", "one", "two words")
    made[9004] = ("a a a a a a a a", "a a a", "a cat")
    made[9005] = ("a 1 1/2 cup", "1 1/2 cups of flour", "a cup and 1/2")
    return made


def tokenizer_lines(rng):
    lines = HARD.split("\n")[1:-1]
    joints = [" ", " ", " ", "", "", ", ", ". ", "'s ", "\u00a0", "n't ", "-", "/"]
    for _ in range(3000):
        lines.append("".join(rng.choice(PIECES) + rng.choice(joints) for _ in range(rng.randint(1, 6))))
    lines += [text for texts in EXAMPLE.values() for text in texts]
    return lines


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/metrics")
    rng = random.Random(20)

    def write(name, text):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")

    lines = tokenizer_lines(rng)
    tokenized = PTBTokenizer().tokenize({i: [{"caption": line}] for i, line in enumerate(lines)})
    write("tokenizer_input.txt", "\n".join(lines) + "\n")
    write("tokenizer_expected.txt", "\n".join(tokenized[i][0] for i in range(len(lines))) + "\n")

    made = pictures(rng)
    annotations = [{"image_id": key, "id": 10 * n + i, "caption": text} for n, (key, texts) in enumerate(made.items()) for i, text in enumerate(texts[1:])]
    dataset = {
        "info": {"description": "made by tools/make_metric_fixtures.py"},
        "images": [{"id": key, "file_name": f"COCO_val2014_{key:012d}.jpg", "height": 480, "width": 640} for key in made],
        "licenses": [],
        "type": "captions",
        "annotations": annotations,
    }
    write("captions.json", json.dumps(dataset))
    write("captions_results.json", json.dumps([{"image_id": key, "caption": texts[0]} for key, texts in made.items()]))

    tokenizer = PTBTokenizer()
    gts = tokenizer.tokenize({key: [{"caption": text} for text in texts[1:]] for key, texts in made.items()})
    res = tokenizer.tokenize({key: [{"caption": texts[0]}] for key, texts in made.items()})
    expected, each = {}, {}
    scores, lists = Bleu(4).compute_score(gts, res, verbose=0)
    for n in range(4):
        expected[f"Bleu_{n + 1}"], each[f"Bleu_{n + 1}"] = scores[n], lists[n]
    for name, scorer in (("ROUGE_L", Rouge()), ("CIDEr", Cider())):
        expected[name], each[name] = scorer.compute_score(gts, res)
    rounded = {name: [round(float(value), 6) for value in values] for name, values in each.items()}
    write("captions_expected.json", json.dumps({"corpus": {k: float(v) for k, v in expected.items()}, "image_ids": list(gts), "each": rounded}))


if __name__ == "__main__":
    main()
