"""Opening a catalogue, with time limits, polite retries, and errors that say what to do."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rsnb.data.stac.catalogues import Catalogue, find_catalogue
from rsnb.errors import InputError

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds
RETRIES = 3
LONGEST_WAIT = 20.0  # seconds that a Retry-After may ask for
WANTED = "Give the landing page of a STAC API or a catalog.json"


@dataclass(frozen=True)
class OpenCatalogue:
    """A catalogue that answered.

    Attributes:
        catalogue: which.
        root: `pystac_client.Client` of an API, `pystac.Catalog` or `Collection` of a static one.
        is_api: it has a search of its own.
        notes: what was amiss, for people.
    """

    catalogue: Catalogue
    root: Any
    is_api: bool
    notes: tuple[str, ...] = ()


def session_retries():
    """urllib3's retries for a catalogue: also after 429 and 5xx, also of POST (a search changes nothing)."""
    from urllib3 import Retry

    class Patient(Retry):
        def get_retry_after(self, response):
            wait = super().get_retry_after(response)
            return None if wait is None else min(wait, LONGEST_WAIT)

    return Patient(total=RETRIES, connect=1, backoff_factor=0.3, status_forcelist=(429, 502, 503, 504),
                   allowed_methods=("GET", "HEAD", "POST"), raise_on_status=False)


def open_catalogue(catalogue) -> OpenCatalogue:
    """Read the landing page and find out whether it is an API or a static catalogue.

    Args:
        catalogue: as for `catalogues.find_catalogue`.

    Raises:
        InputError: no answer, an answer that is no STAC, or no such catalogue.
    """
    import pystac
    from pystac_client import Client
    from pystac_client.stac_api_io import StacApiIO

    from rsnb.data.stac.static import static_io

    known = find_catalogue(catalogue)
    io = StacApiIO(timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), max_retries=session_retries())
    with stac_errors(known.url):
        values = io.read_json(known.url)
        if not isinstance(values, dict):
            raise InputError("the answer is no STAC catalogue", where=known.url, mend=WANTED)
        kind = values.get("type")
        # FedEO's landing page also has a search link that is no STAC search but an OpenSearch description
        links = {link.get("rel") for link in values.get("links") or ()
                 if isinstance(link, dict) and "opensearch" not in str(link.get("type"))}
        if not (isinstance(values.get("links"), list) and ("stac_version" in values or "search" in links)):
            raise InputError("the answer is no STAC catalogue", where=known.url, mend=WANTED)
        if "search" in links or values.get("conformsTo"):
            if not values.get("conformsTo"):
                values = {**values, **_conformance_page(io, values)}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is missing is told in the notes
                # a landing page of a beta version has links like any other, but pystac would not take it for one
                values = {**values, "type": "Catalog", "stac_version": "1.0.0"}
                root = Client.from_dict(values, href=known.url, preserve_dict=False)
            root.set_self_href(known.url)
            root._stac_io = io
            return OpenCatalogue(known, root, True, _conformance_notes(root))
        cls = pystac.Collection if kind == "Collection" else pystac.Catalog
        root = cls.from_dict({"type": "Catalog", **values}, href=known.url)
        root.set_root(root)  # or pystac would follow its "root" link, perhaps to a host that is not asked for
        root._stac_io = static_io(io)
        return OpenCatalogue(known, root, False)


def _conformance_page(io, values: dict) -> dict:
    """{"conformsTo": [...]} of the page that a landing page links to where it holds no list itself, or {}."""
    from pystac_client.exceptions import APIError

    for link in values["links"]:
        if link.get("rel") == "conformance":
            try:
                classes = io.read_json(link["href"])["conformsTo"]
                return {"conformsTo": classes} if isinstance(classes, list) else {}
            except (APIError, ValueError, KeyError, TypeError):
                break
    return {}


def _conformance_notes(client) -> tuple[str, ...]:
    from pystac_client import ConformanceClasses

    notes = []
    if not client.has_conforms_to():
        notes.append("the server lists no conformance classes: only plain search is used, the rest is done here")
    elif not client.conforms_to(ConformanceClasses.ITEM_SEARCH):
        notes.append("the server does not list item search among its conformance classes, but has a search link")
    client.add_conforms_to("ITEM_SEARCH")
    if client.get_links("data"):  # else pystac-client would not look there and list nothing
        client.add_conforms_to("COLLECTIONS")
    return tuple(notes)


@contextmanager
def stac_errors(url: str) -> Iterator[None]:
    """Turn what a network and a server can do wrong into an InputError that names the catalogue and the mend."""
    import pystac
    import requests
    from pystac_client.errors import ClientTypeError
    from pystac_client.exceptions import APIError

    try:
        yield
    except APIError as error:
        raise _explain(error, url) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        mend = "Check the address in a browser; a login or proxy page answers in HTML"
        raise InputError("the answer is no JSON, so this is no STAC catalogue", where=url,
                         mend=mend if url.startswith("http") else "Repair the file, or name another") from None
    except requests.RequestException as error:
        raise _no_answer(url, error) from None
    except (pystac.STACError, pystac.STACTypeError, ClientTypeError, LookupError, TypeError, AttributeError,
            ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the catalogue is damaged ({type(error).__name__}: {error})", where=url,
                         mend="Tell whoever runs it") from None
    except OSError as error:
        raise InputError(f"it cannot be read ({error})", where=url, mend="Check the path or the network") from None


def _explain(error, url: str) -> InputError:
    status, text = getattr(error, "status_code", None), " ".join(str(error).split())[:300]
    if status is None:
        return _no_answer(url, error)
    if status == 404:
        return InputError("there is no such page (404)", where=url, mend="Check the address of the catalogue")
    if status in (401, 403):
        return InputError(f"the server refuses ({status})", where=url, mend="This catalogue wants credentials")
    if status == 429:
        return InputError("the server asks to slow down (429)", where=url, mend="Wait some minutes, ask for less")
    if status >= 500:
        return InputError(f"the server is in trouble ({status}), also after {RETRIES} more tries", where=url,
                          mend="Try again later, or another catalogue")
    return InputError(f"the server refuses the search ({status}: {text})", where=url,
                      mend="Check collection ids, dates and area")


def _no_answer(url: str, error: Exception) -> InputError:
    text = str(error)
    what = "it took too long" if "timed out" in text.lower() else "no answer"
    return InputError(f"{what} from the server ({_short(text)})", where=url,
                      mend="Check the network; without one, search a static catalogue on disk")


def _short(text: str) -> str:
    return " ".join(text.split())[-160:]
