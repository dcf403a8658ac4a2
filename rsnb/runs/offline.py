"""HTML that asks no network for anything and runs nothing: what a page of the gallery may hold of foreign HTML."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

# Dropped with all that they hold: they run, fetch, or hide markup that a browser may read in another way.
DROPPED = frozenset({"script", "iframe", "object", "applet", "frameset", "noscript", "noembed", "noframes", "template",
                     "xmp", "plaintext", "textarea", "animate", "set"})
DROPPED_ALONE = frozenset({"link", "meta", "base", "embed", "frame"})  # these hold nothing
VOID = frozenset({"area", "br", "col", "hr", "img", "input", "source", "track", "wbr"})
LINKS = frozenset({"a", "area"})  # their address is followed by a reader's click, never by the browser alone
ADDRESSES = frozenset({"src", "href", "xlink:href", "poster", "data", "background", "lowsrc", "dynsrc", "action"})
REFUSED = frozenset({"srcset", "imagesrcset", "srcdoc", "formaction", "ping", "manifest", "archive", "codebase"})
FETCHING_STYLE = re.compile(r"\\|@import|image(-set)?\(|\bsrc\(|url\(\s*[\"']?\s*(?!data:|#|[\"'\s])", re.IGNORECASE)


def offline(text: str) -> str:
    """The HTML without scripts, and without what a browser would fetch by itself; `data:` pictures and links stay."""
    keeper = _Keeper()
    keeper.feed(text)
    keeper.close()
    return "".join(keeper.kept)


class _Keeper(HTMLParser):
    """Writes down again the tags, attributes and text that may stay."""

    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.kept: list[str] = []
        self._inside, self._depth = "", 0  # the dropped element we are in, and how often it is nested in itself

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._depth:
            self._depth += tag == self._inside
        elif tag in DROPPED:
            self._inside, self._depth = tag, 1
        elif tag not in DROPPED_ALONE:
            kept = "".join(f' {name}="{html.escape(value or "")}"' for name, value in attrs
                           if _may_stay(tag, name, value or ""))
            self.kept.append(f"<{tag}{kept}>")

    def handle_endtag(self, tag: str) -> None:
        if self._depth:
            self._depth -= tag == self._inside
        elif tag not in VOID | DROPPED | DROPPED_ALONE:
            self.kept.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self._depth:
            return
        if self.cdata_elem == "style":
            self.kept.append("" if FETCHING_STYLE.search(data) else data)
        else:
            self.kept.append(html.escape(data, quote=False))

    def handle_entityref(self, name: str) -> None:
        self.kept.append("" if self._depth else f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.kept.append("" if self._depth else f"&#{name};")


def _may_stay(tag: str, name: str, value: str) -> bool:
    if not re.fullmatch(r"[a-z_][\w:.-]*", name) or name.startswith("on") or name in REFUSED:
        return False
    address = re.sub(r"[\x00-\x20]+", "", value).lower()  # as a browser reads it
    if name in ADDRESSES:
        if tag in LINKS and name in ("href", "xlink:href"):
            return re.match(r"(?!https?:|mailto:|#)[a-z][a-z0-9+.-]*:", address) is None
        return address.startswith(("data:", "#"))
    return FETCHING_STYLE.search(value) is None if name == "style" or "url(" in address else True
