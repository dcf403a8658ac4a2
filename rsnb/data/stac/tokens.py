"""Short-lived tokens: Copernicus Data Space by user and password, Planetary Computer by its open token endpoint.

Sources: documentation.dataspace.copernicus.eu (APIs, Token: password grant, client `cdse-public`, about ten minutes),
planetarycomputer.microsoft.com/docs/concepts/sas (`/api/sas/v1/token/{account}/{container}`, no account).
Nothing here writes a token anywhere: they live in this process and are fetched again when they near their end.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from rsnb.data.stac.secrets import Secret, stored_secret, stored_user
from rsnb.errors import InputError

COPERNICUS_TOKEN_URL = ("https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token")
COPERNICUS_SERVICE = "rsnb-copernicus"  # of the keyring
PLANETARY_TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
BLOB_HOST = ".blob.core.windows.net"
MARGIN_S = 60.0  # a token with less life left than this is fetched anew
TIMEOUT = (10.0, 30.0)
HOW_TO_LOG_IN = ("Register at dataspace.copernicus.eu, then set RSNB_CDSE_USER and RSNB_CDSE_PASSWORD in the "
                 "environment, or store them once: keyring set rsnb-copernicus YOUR_USER")


@dataclass
class CopernicusToken:
    """A bearer token of the Copernicus Data Space, fetched when first needed and again before it ends.

    Attributes:
        user: None takes RSNB_CDSE_USER, or the user that the keyring holds for "rsnb-copernicus".
        password: None takes RSNB_CDSE_PASSWORD, or the keyring's.
        totp: gives the six digits of the moment, for accounts with a second factor; None takes RSNB_CDSE_TOTP.
        url: of the token endpoint.
    """

    user: str | None = None
    password: Secret | None = None
    totp: Callable[[], str] | None = field(default=None, repr=False)
    url: str = COPERNICUS_TOKEN_URL
    _token: Secret | None = field(default=None, repr=False)
    _ends: float = field(default=0.0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @staticmethod
    def available() -> bool:
        """Whether user and password can be had without asking anyone."""
        user = stored_user("RSNB_CDSE_USER", COPERNICUS_SERVICE)
        return bool(user and stored_secret("RSNB_CDSE_PASSWORD", COPERNICUS_SERVICE, user))

    def token(self) -> Secret:
        """The token, fresh for at least a minute.

        Raises:
            InputError: no user or password, wrong ones, or no answer. It names neither.
        """
        with self._lock:
            if self._token is None or time.monotonic() > self._ends - MARGIN_S:
                self._fetch()
            return self._token

    def header(self) -> dict[str, Secret]:
        """{"Authorization": the token with its kind}; reveal it where it is sent."""
        return {"Authorization": Secret(f"Bearer {self.token().reveal()}")}

    def _fetch(self) -> None:
        user = self.user or stored_user("RSNB_CDSE_USER", COPERNICUS_SERVICE)
        password = self.password or (stored_secret("RSNB_CDSE_PASSWORD", COPERNICUS_SERVICE, user) if user else None)
        if not user or not password:
            raise InputError("there are no credentials for the Copernicus Data Space", where="copernicus",
                             mend=HOW_TO_LOG_IN)
        form = {"client_id": "cdse-public", "grant_type": "password", "username": user, "password": password.reveal()}
        digits = self.totp() if self.totp else stored_digits()
        if digits:
            form["totp"] = digits
        asked = time.monotonic()
        answer = _answer("POST", self.url, "copernicus", data=form)
        if answer.status_code in (400, 401):
            raise InputError("the Copernicus Data Space does not accept user and password", where="copernicus",
                             mend=f"{HOW_TO_LOG_IN}. With a second factor also set RSNB_CDSE_TOTP to its digits")
        values = _values(answer, self.url, ("access_token",))
        self._token = Secret(values["access_token"])
        self._ends = asked + float(values.get("expires_in", 600))


@dataclass
class PlanetarySigner:
    """Signs hrefs of the Planetary Computer's storage; a token serves a whole container until it ends.

    Attributes:
        url: of the token endpoint; account and container of the href are put behind it.
    """

    url: str = PLANETARY_TOKEN_URL
    _tokens: dict[tuple[str, str], tuple[Secret, dt.datetime]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @staticmethod
    def signs(href: str) -> bool:
        """Whether an href lies in storage that wants a signature, and has none yet."""
        parts = urlsplit(href)
        return (parts.hostname or "").endswith(BLOB_HOST) and "sig=" not in parts.query

    def sign(self, href: str) -> Secret:
        """The href with its signature, which grants reading: a secret for as long as it lives.

        Raises:
            InputError: no answer of the token endpoint, or no token in it.
        """
        parts = urlsplit(href)
        account = (parts.hostname or "").removesuffix(BLOB_HOST)
        container = parts.path.lstrip("/").split("/", 1)[0]
        if not account or not container:
            raise InputError("account and container cannot be read off this href", where=_bare(href),
                             mend="It should look like https://account.blob.core.windows.net/container/...")
        joint = "&" if parts.query else "?"
        return Secret(f"{href}{joint}{self._token(account, container).reveal()}")

    def _token(self, account: str, container: str) -> Secret:
        with self._lock:
            token, ends = self._tokens.get((account, container), (None, None))
            if token is None or ends - dt.datetime.now(dt.UTC) < dt.timedelta(seconds=MARGIN_S):
                url = f"{self.url}/{account}/{container}"
                values = _values(_answer("GET", url, "planetary_computer"), url, ("token", "msft:expiry"))
                token, ends = Secret(values["token"]), dt.datetime.fromisoformat(values["msft:expiry"])
                self._tokens[account, container] = token, ends if ends.tzinfo else ends.replace(tzinfo=dt.UTC)
            return token


def stored_digits() -> str | None:
    """The second factor's digits from the environment, where someone just put them."""
    digits = stored_secret("RSNB_CDSE_TOTP", COPERNICUS_SERVICE, "totp")
    return digits.reveal() if digits else None


def _answer(method: str, url: str, where: str, data: dict | None = None):
    import requests

    try:
        return requests.request(method, url, data=data, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise InputError(f"the token endpoint {url} does not answer ({type(error).__name__})", where=where,
                         mend="Check the network") from None


def _values(answer, url: str, wanted: tuple[str, ...]) -> dict:
    try:
        answer.raise_for_status()
        values = answer.json()
        return {**values, **{name: values[name] for name in wanted}}
    except Exception as error:  # its text may hold what was sent
        what = f"status {answer.status_code}" if not answer.ok else f"an answer without {' and '.join(wanted)}"
        raise InputError(f"the token endpoint gave {what} ({type(error).__name__})", where=url,
                         mend="Try again later") from None


def _bare(href: str) -> str:
    return href.split("?", 1)[0]
