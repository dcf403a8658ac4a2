"""The gallery: what the runs gave, as HTML files that open anywhere, with no network and no server.

nbconvert's pages ask content networks for their scripts, so the cells are rendered here: Markdown through mistune,
formulas as MathML, code coloured by pygments, pictures inline. Interactive views are left to JupyterLab; each has a
static twin among the outputs.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path

from rsnb.files import write_text
from rsnb.runs.offline import offline
from rsnb.runs.table import collect

TEMPLATES = Path(__file__).parent / "templates"
PICTURES = (".png", ".jpg", ".jpeg", ".gif")  # what a thumbnail is made of
THUMBNAIL_WIDTH = 720
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def write_gallery(runs: Path, folder: Path | None = None) -> Path:
    """Write one page a run and an index; gives the index's path.

    Args:
        runs: folder of all runs.
        folder: where the pages go; default `<runs>/gallery`.
    """
    folder = folder or Path(runs) / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    records = _newest(collect(runs))
    cards, pages = [], set()
    for record in reversed(records):
        page = folder / f"{record['notebook']}-{record['key']}.html"
        pages.add(page.name)
        write_text(page, run_page(record))
        cards.append({**_facts(record), "page": page.name, "thumbnail": _thumbnail(record)})
    for stale in folder.glob("*-*.html"):
        if stale.name not in pages:
            stale.unlink()
    cards.sort(key=lambda card: card["record"]["notebook"])
    return write_text(folder / "index.html", _template("index").render(cards=cards))


def _newest(records: list[dict]) -> list[dict]:
    """Of runs that differ in nothing but the code they ran with, the last one."""
    last = {(r["notebook"], json.dumps([r["parameters"], r["data"]], sort_keys=True)): r for r in records}
    return list(last.values())


def run_page(record: dict) -> str:
    """The HTML of one run: its record, then its notebook as it was executed (or as far as it came)."""
    folder, name = record["folder"], record["notebook"]
    notebook = next((p for p in (folder / f"{name}.ipynb", folder / f"{name}.partial.ipynb") if p.is_file()), None)
    cells = []
    if notebook is not None:
        try:
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        except (ValueError, KeyError):
            cells = []  # a notebook that a killed runner left half written
    facts = _facts(record)
    return _template("run").render(**{**facts, "title": _title(cells) or facts["title"]}, style=_code_style(),
                                   cells=[render_cell(cell) for cell in cells])


def render_cell(cell: dict) -> str:
    """HTML of one cell."""
    source, tags = "".join(cell["source"]), set(cell.get("metadata", {}).get("tags", []))
    if any(tag.startswith("papermill-error") for tag in tags):  # papermill's banners; the page says it at its top
        return ""
    if "injected-parameters" in tags:  # a folder of this machine is no news to a reader
        source = re.sub(r"(?m)^(out_dir|data_root) = .*\n?", "", source).strip()
        if source == "# Parameters":
            return ""
    if cell["cell_type"] == "markdown":
        return f'<section class="text">{_markdown(source, cell.get("attachments", {}))}</section>'
    if cell["cell_type"] != "code":
        return ""
    outputs = "".join(_render_output(output) for output in merge_streams(cell.get("outputs", [])))
    code = _highlight(source) if source.strip() else ""
    kind = " parameters" if tags & {"parameters", "injected-parameters"} else ""
    return f'<section class="code{kind}">{code}{outputs}</section>'


def _render_output(output: dict) -> str:
    if output["output_type"] == "stream":
        text = _terminal_text("".join(output["text"]))
        return f'<pre class="{output["name"]}">{html.escape(text)}</pre>' if text.strip() else ""
    if output["output_type"] == "error":
        text = ANSI.sub("", "\n".join(output.get("traceback", [])) or output.get("evalue", ""))
        return f'<pre class="error">{html.escape(text)}</pre>'
    data = {kind: "".join(v) if isinstance(v, list) else v for kind, v in output.get("data", {}).items()}
    for kind in ("image/png", "image/jpeg", "image/gif"):
        if kind in data:
            return f'<img alt="" src="data:{kind};base64,{data[kind].strip()}">'
    if "image/svg+xml" in data:
        coded = base64.b64encode(data["image/svg+xml"].encode()).decode()
        return f'<img alt="" src="data:image/svg+xml;base64,{coded}">'
    if "application/vnd.jupyter.widget-view+json" in data and re.search(r"\d+%\|", data.get("text/plain", "")):
        return ""  # a progress bar
    if "application/vnd.plotly.v1+json" in data or "application/vnd.jupyter.widget-view+json" in data:
        return '<p class="note">JupyterLab shows an interactive view here; its static twin is among the pictures.</p>'
    if "text/html" in data:
        return f'<div class="html">{offline(data["text/html"])}</div>'
    if "text/markdown" in data or "text/latex" in data:
        return f'<div class="text">{_markdown(data.get("text/markdown") or data["text/latex"])}</div>'
    text = data.get("text/plain", "")
    return f'<pre class="result">{html.escape(text)}</pre>' if text else ""


def merge_streams(outputs: list[dict]) -> list[dict]:
    """Neighbouring pieces of one stream as one: a progress bar arrives in many."""
    merged: list[dict] = []
    for output in outputs:
        if merged and output["output_type"] == "stream" == merged[-1]["output_type"] \
                and output["name"] == merged[-1]["name"]:
            merged[-1] = {**merged[-1], "text": "".join(merged[-1]["text"]) + "".join(output["text"])}
        else:
            merged.append(output)
    return merged


def _terminal_text(text: str) -> str:
    """What a terminal would show in the end: colours gone, and of a line rewritten with \\r only its last state."""
    lines = ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(([part for part in line.split("\r") if part] or [""])[-1] for line in lines)


def _markdown(source: str, attachments: dict | None = None) -> str:
    """Markdown with tables, and $...$ and $$...$$ as MathML."""
    import mistune

    for name, bundle in (attachments or {}).items():
        kind, coded = next(iter(bundle.items()))
        source = source.replace(f"attachment:{name}", f"data:{kind};base64,{''.join(coded)}")
    renderer = mistune.create_markdown(escape=False, plugins=["math", "table", "strikethrough", "footnotes", "url"])
    text = offline(renderer(source))
    text = re.sub(r'(?s)<div class="math">\$\$(.*?)\$\$</div>', lambda m: _formula(m[1], "block"), text)
    return re.sub(r'(?s)<span class="math">\\\((.*?)\\\)</span>', lambda m: _formula(m[1], "inline"), text)


def _formula(escaped: str, display: str) -> str:
    """MathML of a formula, or the formula's own text where it cannot be converted."""
    from latex2mathml.converter import convert

    latex = html.unescape(escaped).strip()
    known = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", latex)  # the converter knows align*, not aligned
    known = re.sub(r"\\sim\b", "\u223c", known)  # and takes \sim for the keyboard's tilde
    try:
        return convert(known, display=display)
    except Exception:  # the converter has no common exception, and a page must not fail over one formula
        return f'<code class="formula">{html.escape(latex)}</code>'


def _highlight(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return highlight(source, PythonLexer(), HtmlFormatter(cssclass="source"))


def _code_style() -> str:
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(style="friendly", cssclass="source").get_style_defs(".source")


def _title(cells: list[dict]) -> str:
    """The notebook's own first heading."""
    for cell in cells:
        found = re.search(r"(?m)^# +(.+)$", "".join(cell["source"])) if cell["cell_type"] == "markdown" else None
        if found:
            return found[1].strip()
    return ""


def _facts(record: dict) -> dict:
    """What both pages show of a record."""
    metrics = [(name, f"{value:.4g}" if isinstance(value, float) else
                f"not measured: {value['not measured']}" if isinstance(value, dict) else str(value),
                record["checks"].get(name, "")) for name, value in record["metrics"].items()]
    seconds, peak = record.get("wall_seconds"), record.get("peak_rss_bytes")
    return {
        "record": record,
        "metrics": metrics,
        "files": {**record["figures"], **record["artefacts"]},
        "seconds": "" if seconds is None else f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min",
        "peak": "" if not peak else f"{peak / 2**30:.1f} GiB",
        "number": record["notebook"][:2],
        "title": record["notebook"][3:].replace("_", " ").capitalize(),
    }


def _thumbnail(record: dict) -> str:
    """The first declared picture, reduced, as a data address; "" where there is none."""
    from PIL import Image

    for name in record["figures"]:
        path = record["folder"] / name
        if path.suffix.lower() in PICTURES and path.is_file():
            with Image.open(path) as picture:
                small = picture.convert("RGB")
                small.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
            out = io.BytesIO()
            small.save(out, "JPEG", quality=85)
            return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
    return ""


def _template(name: str):
    from jinja2 import Environment, FileSystemLoader

    found = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return found.get_template(f"{name}.html.j2")
