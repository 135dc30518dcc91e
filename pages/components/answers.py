"""A model's answer as Markdown that can do nothing but be read.

Gradio sanitises HTML, yet a sanitised ``<img>`` still makes the browser fetch whatever address a model
wrote. So outside of code every tag is shown as text, and images become plain links. Links stay: a person
decides whether to follow one.
"""

from __future__ import annotations

import re

# Code first, fenced or inline, also where the answer is not finished yet and the fence is still open.
_CODE = re.compile(r"(^ {0,3}(```|~~~)[\s\S]*?(?:^ {0,3}\2|\Z)|`[^`\n]+`)", re.MULTILINE)


def readable(text: str) -> str:
    """``text`` as Markdown source without tags and without images."""
    pieces: list[str] = []
    end = 0
    for code in _CODE.finditer(text):
        pieces += [_plain(text[end : code.start()]), code.group(0)]
        end = code.end()
    whole = "".join((*pieces, _plain(text[end:])))
    # What looks like code here may be none to the renderer (an escaped back-tick), so the two characters that
    # make an image are parted everywhere, by one that is not seen.
    return whole.replace("![", "!\u200b[")


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("![", "[")
