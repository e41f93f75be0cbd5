"""Tokens for the browser tests, an API that takes them, and what of them is left where it must not be."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import jwt
from playwright.async_api import Page, Request

from query_api.access.token_config import TokenConfig
from query_api.doorway.layer import App, Receive, Scope, Send
from readside.api import opened
from readside.demo.processes import free_port
from tests.browser.service import Service, served

SECRET = "a secret of tests, of thirty-two bytes and more"


def minted(sessions: Sequence[str] | str, seconds: float = 600, **claims: object) -> str:
    """A token for these sessions."""
    named = sessions if isinstance(sessions, str) else list(sessions)
    told = {"aud": "readside", "exp": time.time() + seconds, "sessions": named, **claims}
    return jwt.encode(told, SECRET, algorithm="HS256")


@dataclass
class Guarded:
    """An API that takes tokens; `asked` are the paths that were asked for with one."""

    url: str
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def guarded_api(service: Service) -> AsyncIterator[Guarded]:
    """Another API over the service's stores."""
    made = Guarded(f"http://127.0.0.1:{(port := free_port())}")
    config = replace(service.config, tokens=TokenConfig(secrets=(SECRET.encode(),)))
    async with opened(config) as app, served(_listening(app, made), port):
        yield made


def _listening(app: App, made: Guarded) -> App:
    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        if b"authorization" in dict(scope["headers"]):
            made.asked.append(scope["path"])
        await app(scope, receive, send)

    return listen


@dataclass
class Traces:
    """Everything that leaves a page: addresses, and of what has been answered (reads are held) headers and bodies."""

    urls: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @classmethod
    def of(cls, page: Page) -> "Traces":
        """Begin to listen."""
        made = cls()
        page.on("request", lambda request: made.urls.append(request.url))
        page.on("requestfinished", made.note)
        return made

    def note(self, request: Request) -> None:
        """Take note of a request that was answered."""
        self.requests.append(request)

    def asked(self, path: str) -> list[str]:
        """The URLs below a path."""
        return [url for url in self.urls if path in url]

    async def of_token(self, page: Page, token: str) -> set[str]:
        """Where the token is found, or a good part of it."""
        part = token.split(".")[2][:24] or token[-24:]
        places = set[str]()
        for request in self.requests:
            for name, value in (await request.all_headers()).items():
                places |= {name} if part in value else set()
            places |= {"a body"} if part in (request.post_data or "") else set()
        places |= {"a URL"} if part in str(self.urls) else set()
        places |= {"the history"} if part in str(await history(page)) else set()
        for place in ("location.href", "document.cookie", "document.documentElement.outerHTML", "document.title"):
            places |= {place} if part in await page.evaluate(place) else set()
        for store in ("localStorage", "sessionStorage"):
            places |= {store} if part in await page.evaluate(f"JSON.stringify({store})") else set()
        return places


async def history(page: Page) -> list[str]:
    """The addresses of the tab's history, as the browser holds them."""
    session = await page.context.new_cdp_session(page)
    told = await session.send("Page.getNavigationHistory")
    return [entry["url"] for entry in told["entries"]]
