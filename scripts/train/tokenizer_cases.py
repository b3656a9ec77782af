"""Texts and their ids from HF tokenizers, as the oracle of the C tokenizer."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Tokenizer

FIXED = [
    "", " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", "\n\n\n", " \n", "\n ", " \n ", "  \n  ", "\t\n\t", "a",
    " a", "a ", " a ", "  a", "a  ", "   a   b", "a\tb", "a\t\tb", "a \t b", "a\nb", "a \nb", "a\n b", "a\r\nb",
    "a\r\n\r\nb", "a\rb", "a\n\n\nb", "a  \n\n  b", "line one\n  indented\n\tand a tab\n", "x" + " " * 40 + "y",
    "x" + " " * 41, " " * 100, "\n" * 50, "\t" * 17, " \t" * 9, "end   \n", "end\n   ", "end \r\n next",
    "\r\n\r\n \r\n", "0", "7", "12", "123", "1234", "12345", "123456", "1234567", "12345678901234567890", "3.14159",
    "1,234,567.89", "2026-11-22", "10:42:07", "v1.2.3-rc4", "0xDEADBEEF", "1e-5", "a1b2c3", "abc123def", "123abc",
    "x=1", "50%", "$100", "\u0661\u0662\u0663", "\uff11\uff12\uff13\uff14", "\u00b2\u00b3\u00b9", "\u2167",
    "\u00bd cup", "\u096a\u096b\u096c\u096d", "I'm", "I'M", "you're", "YOU'RE", "he's", "HE'S", "we've", "WE'VE",
    "they'll", "THEY'LL", "she'd", "SHE'D", "can't", "CAN'T", "I'm you're he's we've they'll she'd can't", "'s", "'S",
    "'re", "'rE", "'Re", "'Ve", "'lL", "'t", "'tis", "'twas", "'d've", "o'clock", "rock 'n' roll", "the dogs' bones",
    "it''s", "'''", "'s's's", " 's", "\n's", "l'eau", "don\u2019t", "I\u2019ll", "'\u017f", "'\u017f\u017f",
    "it'\u017f", "'\u212a", "Mr. Smith's", "y'all'd've", "'LL", "'ll'LL", "'M'm", "'D", "'dd", "Hello, world!",
    "Hello,world!", "...", "......", "?!", "!!!", "--", "a--b", "a -- b", "\"Quoted,\" he said.", "(parenthesis)",
    "[brackets] {braces} <angles>", "semi;colon:colon", "e.g. this, i.e. that", "a/b/c", "a\\b",
    "~`@#$%^&*()_+-=[]{}|;':\",./<>?", "!\n", "!\n\n", "!\r\n", " !\n ", "?\n\n\n?", "-\n-", "#hashtag @mention",
    "snake_case_name", "camelCaseName", "UPPER_CASE", "user@example.org", "scheme://host.example/path?query=1#frag",
    "C++", "C#", "a+b=c", "<b>bold</b>", "&amp;", "na\u00efve", "nai\u0308ve", "caf\u00e9", "cafe\u0301",
    "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "\u00df\u1e9e", "\u0130stanbul", "\u01c5",
    "Z\u0351\u036b\u0343a\u0300\u0301\u0302lgo", "\u0301", " \u0301", "a\u0301b", "\u0301\u0302\u0303",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u4f60\u597d",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8",
    "\u3053\u3093\u306b\u3061\u306f", "\u30ab\u30bf\u30ab\u30ca", "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab",
    "\u4e2d\u6587 and English \u6df7\u5408", "\u0645\u0631\u062d\u0628\u0627",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05dc\u05d5\u05dd",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u200fRTL\u200e mark", "\u202eoverride\u202c",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442",
    "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac", "\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8",
    "\u0540\u0561\u0575\u0565\u0580\u0565\u0576", "\u12a0\u121b\u122d\u129b", "\U0001f600", "\U0001f600\U0001f601",
    "hi \U0001f600 there", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd",
    "\U0001f1eb\U0001f1f7", "\u2764\ufe0f", "1\ufe0f\u20e3", "\U0001d4d7\U0001d4ee\U0001d4f5", "\U00010348",
    "\U0002070e", "\U000e0041", "\U0010ffff", "\ufffd", "\ufeff", "\ufeffBOM", "\uffff", "\ue000", "\u00a0",
    "a\u00a0b", "\u00a0\u00a0a", "\u2003wide", "a\u2003\u2003b", "\u3000\u5168\u89d2", "\u200bzero", "a\u200bb",
    "\u2028", "a\u2028b", "\u2029\n", "\u0085", "a\u0085b", "\u1680", "\u180e", "\u205f\u202f", "\u000b\u000c",
    "a\u000bb", "\u0000", "a\u0000b", "\u0001\u0002\u0003", "\u001b[31mred\u001b[0m", "\u007f", "\u0080\u009f",
    "\u001c\u001d\u001e\u001f", "a\u001cb", "\u00ad", "soft\u00adhyphen", "\u00ab guillemets \u00bb",
    "\u201csmart\u201d \u2018quotes\u2019", "en\u2013dash em\u2014dash", "\u2026", "\u20ac5 \u00a35 \u00a55",
    "\u00a9\u00ae\u2122", "\u2200x\u2203y", "\u2192\u2190\u21d2", "\u2588\u2593\u2592\u2591", "\u00b5m", "\u2126",
    "\u0120", "\u010a", "\u0120hello", "\u00c3\u00a9", "\u0100\u0101\u0102", "\u0142\u0143", "\u00c4\u0120",
    "\u00a1\u00ac\u00ae\u00ff", "word" * 60, "x" * 500, "ab" * 333, "supercalifragilisticexpialidocious",
    "Donaudampfschifffahrtsgesellschaftskapit\u00e4n", "\u4e00" * 80, "-" * 120, "=" * 77 + "\n", "." * 63,
    "\u00e9" * 90, "<|begin_of_text|>", "<|end_of_text|>", "<|begin_of_text|>Hello", "Hello<|end_of_text|>",
    "a<|end_of_text|>b", "a <|end_of_text|> b", "<|begin_of_text|><|begin_of_text|>",
    "<|end_of_text|><|begin_of_text|>next", "<|begin_of_text", "begin_of_text|>", "<|begin_of_text|",
    "< |begin_of_text|>", "<|BEGIN_OF_TEXT|>", "<|<|end_of_text|>|>", "\n<|end_of_text|>\n", "  <|end_of_text|>  ",
    "<|eot_id|>", "<|im_start|>user", "<s></s>", "[INST]", "it<|end_of_text|>'s", "12<|end_of_text|>34",
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
    "#include <stdio.h>\r\nint main(void) { return 0; }\r\n", "{\"key\": [1, 2.5, null, true], \"s\": \"a\\nb\"}",
    "SELECT * FROM t WHERE a='x' AND b>=10;", "if [ -f \"$1\" ]; then echo \"ok\"; fi", "x->y.z[0](1,2)",
    "/* comment */ // more", "a &&= b || !c ?? d", "        deeply indented", "\tif x:\n\t\ty()\n\n\n\tz()\n",
    "key:\n  - item\n  - other\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "# Heading\n\nText with *emphasis*.\n",
    "1. one\n2. two\n10. ten\n", "In the beginning God created the heaven and the earth.",
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
    "To Sherlock Holmes she is always THE woman.", "\"TOM!\"\n\nNo answer.\n\n\"TOM!\"\n",
    "The quick brown fox jumps over the lazy dog.", "THE QUICK BROWN FOX", "tHe qUiCk", "A B C D", "I",
    "And God said, Let there be light: and there was light.",
]
POOL = [
    *"aeiostnrhldcumfpgwybvkxjqz   \n'.,;:!?-\"0123456789ABT",
    "'s", "'LL", "\r\n", "  ", "\t", "\u00e9", "\u0301", "\u4e2d", "\U0001f600", "\u0627", "\u05d0", "\u00a0",
    "\u2028", "\u00df", "the", " and", "ing", "\u0f0b", "\u0967", "\x00", "\x1f", "_", "\u200d",
]


def texts(seed: int = 11, count: int = 120) -> list[str]:
    """The fixed cases, then pseudo-random mixtures."""
    rng = random.Random(seed)
    mixed = ["".join(rng.choice(POOL) for _ in range(rng.randint(1, 60))) for _ in range(count)]
    return list(dict.fromkeys(FIXED + mixed))


def write_cases(tokenizer_json: Path, out: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w") as file:
        for text in texts():
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            file.write(json.dumps({"text": text, "ids": ids}) + "\n")
