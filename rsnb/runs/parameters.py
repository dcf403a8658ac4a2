"""The parameters of a notebook: read from its cell tagged `parameters`, refused before a kernel starts.

papermill injects unknown names and mistyped values with no more than a log line, so they are caught here.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rsnb.errors import InputError

SCALARS = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: type = default  # help`.

    Attributes:
        type: "int", "float", "str", "bool", "list", "dict" or "list[<scalar>]".
        default: the literal value. A list that is not empty fixes the number of entries: a size is [width, height].
        help: the comment behind it.
        line: its line in the cell, from 1.
        choices: for a help that starts with "one of a, b, c": those words, else (). The list ends at ; : . or (.
    """

    name: str
    type: str
    default: object
    help: str = ""
    line: int = 0
    choices: tuple[str, ...] = ()


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """The declared parameters of a notebook, in order.

    Raises:
        InputError: no notebook, none or two cells tagged `parameters`, a line that is not `name[: type] = literal`.
    """
    try:
        content = json.loads(Path(notebook).read_text(encoding="utf-8"))
        cells = [(cell["cell_type"], "".join(cell["source"]), cell.get("metadata", {}).get("tags", []))
                 for cell in content["cells"]]
        found = [source for _, source, tags in cells if "parameters" in tags]
    except FileNotFoundError:
        raise InputError("there is no such notebook", where=notebook, mend="Check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise InputError("this is not a Jupyter notebook (format 4)", where=notebook,
                         mend="Open it in JupyterLab and save it again") from None
    if len(found) != 1:
        raise InputError(f"{len(found)} cells are tagged 'parameters', there must be exactly one", where=notebook,
                         mend="Tag the cell with the defaults as 'parameters'")
    return parse_cell(found[0], where=f"{notebook} (parameters cell)")


def parse_cell(source: str, where: str = "parameters cell") -> dict[str, Parameter]:
    """The parameters that the source of a cell declares; see `read_parameters`."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"it is not Python: {error.msg}", where=where, line=error.lineno) from None
    comments = {token.start[0]: token.string.lstrip("# ").rstrip()
                for token in tokenize.generate_tokens(io.StringIO(source).readline)
                if token.type == tokenize.COMMENT}
    found: dict[str, Parameter] = {}
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a string that explains
        if isinstance(statement, ast.AnnAssign):
            target, annotation = statement.target, ast.unparse(statement.annotation)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, annotation = statement.targets[0], None
        else:
            target = None
        if not isinstance(target, ast.Name) or statement.value is None:
            raise InputError("a parameters cell holds only lines of the form `name: type = literal  # help`",
                             where=where, line=statement.lineno, mend="Move other code to the next cell")
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            raise InputError(f"the default of {target.id!r} is not a literal", where=where, line=statement.lineno,
                             mend="Compute derived values in the next cell") from None
        kind = annotation or type(default).__name__
        if kind not in (*SCALARS, "list", "dict", *(f"list[{s}]" for s in SCALARS)):
            raise InputError(f"{target.id!r} has the type {kind!r}", where=where, line=statement.lineno,
                             mend="Use int, float, str, bool, list, dict or list[int|float|str|bool]")
        text = comments.get(statement.end_lineno, "")
        listed = re.match(r"one of ([^;:.(]+)", text)
        choices = tuple(word.strip(" '\"") for word in listed[1].split(",")) if listed else ()
        parameter = Parameter(target.id, kind, default, text, statement.lineno, choices)
        found[target.id] = replace(parameter, default=_typed(parameter, default, where, statement.lineno))
    return found


def resolve(declared: Mapping[str, Parameter], file: Path | None = None,
            overrides: Iterable[tuple[str, str]] = ()) -> dict[str, object]:
    """All parameters of a run: the defaults, then a profile's YAML file, then `-p name=value` texts.

    Raises:
        InputError: an unknown name (with the nearest known one), a value of another type or not among the choices.
    """
    values = {name: parameter.default for name, parameter in declared.items()}
    for name, value, line in [] if file is None else _read_yaml(file):
        values[name] = _typed(_known(declared, name, file, line), value, file, line)
    for name, text in overrides:
        parameter = _known(declared, name, f"-p {name}={text}")
        values[name] = _typed(parameter, _from_text(parameter, text), f"-p {name}={text}")
    return values


def injected_over_defaults(history: Iterable[str]) -> set[str]:
    """Names whose value papermill changed, seen from the kernel's input history (`In` of IPython).

    papermill runs the parameters cell and right after it a cell that begins with `# Parameters`.
    """
    previous, changed = "", set()
    for source in history:
        if source.startswith("# Parameters\n"):
            try:
                before, after = parse_cell(previous), parse_cell(source)
            except InputError:
                return {"unreadable"}
            changed |= {n for n, p in after.items() if n not in before or before[n].default != p.default}
        previous = source
    return changed


def _known(declared: Mapping[str, Parameter], name: str, where: object, line: int | None = None) -> Parameter:
    if name in declared:
        return declared[name]
    near = difflib.get_close_matches(name, declared, n=1)
    hint = f"Did you mean {near[0]!r}? The" if near else "The"
    raise InputError(f"the notebook has no parameter {name!r}", where=where, line=line,
                     mend=f"{hint} parameters are: {', '.join(declared)}")


def _from_text(parameter: Parameter, text: str) -> object:
    """A command-line text as the parameter's type would have it written; left as text where it cannot be."""
    kind = parameter.type
    try:
        if kind == "str":
            return text
        if kind == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if kind in ("int", "float"):
            return SCALARS[kind](text)
        if kind == "dict" or text.lstrip().startswith("["):
            return json.loads(text)
        element = Parameter(parameter.name, kind[5:-1] or "str", None)
        return [_from_text(element, part.strip()) for part in text.split(",")] if text.strip() else []
    except (KeyError, ValueError):
        return text


def _typed(parameter: Parameter, value: object, where: object, line: int | None = None) -> object:
    """The value, if it has the declared type (an int is a float, but True is not an int)."""
    kind, wrong = parameter.type, False
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind in SCALARS:
        wrong = type(value) is not SCALARS[kind]
    elif kind == "dict":
        wrong = not isinstance(value, dict)
    else:
        wrong = not isinstance(value, list)
        if not wrong and parameter.default and len(value) != len(parameter.default):
            raise InputError(f"{parameter.name!r} has {len(value)} entries ({value!r}), not {len(parameter.default)}",
                             where=where, line=line, mend=f"Give it values like {parameter.default!r}")
        if not wrong and kind != "list":
            element = Parameter(f"{parameter.name}[...]", kind[5:-1], None)
            value = [_typed(element, part, where, line) for part in value]
    if wrong:
        raise InputError(f"{parameter.name!r} must be of type {kind}, not {type(value).__name__} ({value!r})",
                         where=where, line=line, mend=f"Give it a value like {_example(kind)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{parameter.name!r} is {value}", where=where, line=line, mend="Give it a finite number")
    if parameter.choices and value not in parameter.choices:
        raise InputError(f"{parameter.name!r} cannot be {value!r}", where=where, line=line,
                         mend=f"Choose one of: {', '.join(parameter.choices)}")
    return value


def _example(kind: str) -> str:
    return {"int": "3", "float": "0.5", "str": '"text"', "bool": "true", "dict": '{"a": 1}', "list": "[1, 2]",
            "list[int]": "[1, 2]", "list[float]": "[0.5, 1]", "list[str]": '["a", "b"]'}.get(kind, "[true, false]")


def _read_yaml(path: Path) -> list[tuple[str, object, int]]:
    """(name, value, line) of the top-level entries of a YAML file."""
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError):
        raise InputError("the parameter file cannot be read", where=path, mend="Check path and encoding") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"it is not YAML: {getattr(error, 'problem', error)}", where=path,
                         line=None if mark is None else mark.line + 1) from None
    if node is None:
        return []
    if not isinstance(values, dict):
        raise InputError("a parameter file holds lines of the form `name: value`", where=path, line=1)
    lines = {}
    for key, _ in node.value:
        if key.value in lines:
            raise InputError(f"{key.value!r} is given twice", where=path, line=key.start_mark.line + 1,
                             mend="Keep one of the two lines")
        lines[key.value] = key.start_mark.line + 1
    return [(str(name), value, lines.get(str(name), 1)) for name, value in values.items()]
