"""Walking a static catalogue: JSON files that link to each other, on disk or behind any web server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from rsnb.data.stac.items import require_kinds
from rsnb.errors import InputError


def static_io(api_io):
    """A `pystac.StacIO` with the time limits and retries of a `pystac_client.StacApiIO`.

    That one itself would make API clients of a static catalogue's children.
    """
    from pystac.stac_io import DefaultStacIO

    class StaticIO(DefaultStacIO):
        def read_text_from_href(self, href: str) -> str:
            return api_io.read_text(href)

    return StaticIO()


def containers(root, notes: list[str]) -> Iterator:
    """The catalogue itself and every catalogue and collection below it, each once.

    Args:
        root: `pystac.Catalog` or `Collection`.
        notes: gets a line for each that cannot be read.
    """
    waiting, visited = [root], {root.get_self_href()}
    while waiting:
        container = waiting.pop()
        if not any(link.rel in ("child", "item") for link in container.links) and container.get_links("items"):
            behind = container.get_links("items")[0].get_target_str()
            notes.append(f"the items of {container.id} lie behind an API: {behind}")
        yield container
        for child in _resolved(container, "child", notes):
            if child.get_self_href() not in visited:  # links may lead in a circle
                visited.add(child.get_self_href())
                waiting.append(child)


def items_of(container, notes: list[str]) -> Iterator:
    """The `pystac.Item`s that a catalogue or collection links to; one that cannot be read is noted."""
    for item in _resolved(container, "item", notes):
        try:
            yield require_kinds(item)
        except InputError as error:
            notes.append(f"{item.id} was left out ({error.what})")


def _resolved(container, rel: str, notes: list[str]) -> Iterator:
    for link in container.get_links(rel):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pystac tells what it could not bring to its newest version
                target = link.resolve_stac_object(root=container.get_root()).target
        except Exception as error:  # whatever one file does, the others are still good
            why = first_line(error.__cause__ or error.__context__ or error)
            name = str(link.get_target_str()).rsplit("/", 1)[-1]
            notes.append(f"{name} could not be read and was left out ({why})")
            continue
        yield target


def first_line(error: BaseException) -> str:
    """The first line of an error's text, shortened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
