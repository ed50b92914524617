"""The raters' web page: one secret link a rater, blind items, votes that are on disk before the page says so."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from reason_edit.rating.pictures import PictureChanged, Pictures, Side
from reason_edit.rating.sheets import Sheet, make_sheet
from reason_edit.rating.store import AnsweredElsewhere, Rater, Store, Vote, now
from reason_edit.rating.study import LONGEST_SECONDS, Answer, ItemKey, RatingError

BODY_LIMIT = 4096
"""Bytes; an answer has about 200."""

BODY_SECONDS = 30.0
"""How long a client may take to send an answer."""

PACKAGE = Path(__file__).parent
STATIC = {
    "rate.css": "text/css",
    "view.js": "text/javascript",
    "zoom.js": "text/javascript",
    "server.js": "text/javascript",
}
TEMPLATES = Environment(
    loader=PackageLoader("reason_edit.rating"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class AnswerPost(BaseModel):
    """One answer as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    item: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    answer: Answer
    believed: Answer | None
    seconds: Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


@dataclass(slots=True)
class Desk:
    """What the routes work with: the votes, the pictures, and the sheets of the raters met so far.

    Attributes:
        store: The votes.
        pictures: The pictures.
        items: The study's items, by number.
    """

    store: Store
    pictures: Pictures
    items: list[ItemKey]
    _sheets: dict[int, Sheet] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rater(self, token: str) -> Rater:
        """The rater of a link.

        Raises:
            HTTPException: 404; nobody has this link.
        """
        rater = self.store.rater_of(token) if len(token) <= 64 else None
        if rater is None:
            raise HTTPException(404, "this link is not known; ask the organiser of the study for yours")
        return rater

    def sheet(self, rater: Rater) -> Sheet:
        """The items of a rater, made once."""
        with self._lock:
            if rater.number not in self._sheets:
                settings = self.store.settings()
                self._sheets[rater.number] = make_sheet(
                    self.items, self.store.panel(), settings["secret"], rater.number
                )
            return self._sheets[rater.number]

    def number(self, sheet: Sheet, token: str) -> int:
        """The item that a blind name stands for on this rater's sheet.

        Raises:
            HTTPException: 404; it stands for none.
        """
        place = sheet.place.get(token)
        if place is None:
            raise HTTPException(404, "no such item")
        return sheet.numbers[place]

    def view(self, rater: Rater, place: int | None) -> dict[str, Any]:
        """One item as the page gets it; the first open one where `place` is None.

        Raises:
            HTTPException: 404; the place is not on the sheet.
        """
        sheet = self.sheet(rater)
        answers = self.store.current(rater.number)
        state = progress(sheet, answers, 0)
        place = place if place is not None else state["next_open"]
        counts = {"total": state["total"], "answered": state["answered"]}
        if place is None:
            return {**counts, "place": None}
        if not 1 <= place <= len(sheet.numbers):
            raise HTTPException(404, "no such item")
        token, number = sheet.tokens[place - 1], sheet.numbers[place - 1]
        given = answers.get(number)
        return {
            **counts,
            "place": place,
            "item": token,
            "instruction": self.items[number].instruction,
            "answer": given.answer.value if given else None,
            "source": f"pictures/{token}/before",
            "edited": f"pictures/{token}/after",
        }


def progress(sheet: Sheet, answers: dict[int, Vote], place: int) -> dict[str, Any]:
    """How far a rater is, and the place of the next open item after `place`, else of the first open one."""
    opened = [i + 1 for i, n in enumerate(sheet.numbers) if n not in answers]
    following = next((p for p in opened if p > place), opened[0] if opened else None)
    return {"total": len(sheet.numbers), "answered": len(sheet.numbers) - len(opened), "next_open": following}


def create_app(store: Store, pictures: Pictures, *, public_url: str | None = None) -> FastAPI:
    """The web application of one study.

    Args:
        store: The votes.
        pictures: The pictures.
        public_url: The address that raters see, where a proxy stands before the server.

    Returns:
        An ASGI application; several processes may serve one PostgreSQL database.
    """
    app = FastAPI(title="Rating", docs_url=None, redoc_url=None, openapi_url=None)
    desk = Desk(store, pictures, store.items())
    own_origin = _origin(public_url) if public_url else None

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = _foreign(request, own_origin) if request.method not in ("GET", "HEAD") else None
        response = JSONResponse({"detail": refusal}, 403) if refusal else await call_next(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.exception_handler(RatingError)
    async def refuse(_request: Request, error: RatingError) -> JSONResponse:
        if isinstance(error, AnsweredElsewhere):
            current = error.current.value if error.current else None
            return JSONResponse({"detail": "answered in another tab", "current": current}, 409)
        if isinstance(error, PictureChanged):
            text = (
                "This picture is no longer the one the study began with. Go on with the next, and tell the organiser."
            )
            return JSONResponse({"detail": text}, 410)
        return JSONResponse({"detail": "the vote could not be stored"}, 503)

    @app.get("/")
    def start() -> HTMLResponse:
        return _message("Rating edits", "Open the personal link that the organiser of the study gave you.", "")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404, "no such file")
        return Response((PACKAGE / "static" / name).read_bytes(), media_type=STATIC[name])

    @app.get("/r/{token}")
    def without_slash(token: str) -> RedirectResponse:
        return RedirectResponse(f"{desk.rater(token).token}/", 307)

    @app.get("/r/{token}/")
    def page(token: str) -> HTMLResponse:
        try:
            desk.rater(token)
        except HTTPException:
            return _message("This link is not known", "Ask the organiser of the study for yours.", "../../", 404)
        return HTMLResponse(TEMPLATES.get_template("page.html").render())

    @app.get("/r/{token}/items/next")
    def next_item(token: str) -> dict[str, Any]:
        return desk.view(desk.rater(token), None)

    @app.get("/r/{token}/items/{place}")
    def item(token: str, place: int) -> dict[str, Any]:
        return desk.view(desk.rater(token), place)

    @app.get("/r/{token}/pictures/{name}/{side}")
    def picture(token: str, name: str, side: str) -> Response:
        sides: dict[str, Side] = {"before": "source", "after": "edited"}
        number = desk.number(desk.sheet(desk.rater(token)), name)
        if side not in sides:
            raise HTTPException(404, "no such picture")
        content = desk.pictures.png(number, sides[side])
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})

    @app.post("/r/{token}/answers")
    async def answer(token: str, request: Request) -> dict[str, Any]:
        post = await _read_answer(request)
        return await run_in_threadpool(_store_answer, desk, token, post)

    return app


def _store_answer(desk: Desk, token: str, post: AnswerPost) -> dict[str, Any]:
    rater = desk.rater(token)
    sheet = desk.sheet(rater)
    number = desk.number(sheet, post.item)
    desk.pictures.check(number)
    vote = Vote(item=number, answer=post.answer, seconds=post.seconds, nonce=post.nonce, answered_at=now())
    desk.store.vote(rater.number, vote, believed=post.believed)
    return progress(sheet, desk.store.current(rater.number), sheet.place[post.item] + 1)


async def _read_answer(request: Request) -> AnswerPost:
    """Read a small JSON body in bounded time.

    Raises:
        HTTPException: 408, 413, 415 or 422, with a reason.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "an answer is application/json")
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise HTTPException(413, f"an answer has at most {BODY_LIMIT} bytes")
    except TimeoutError as error:
        raise HTTPException(408, "the answer did not arrive in time; send it again") from error
    try:
        return AnswerPost.model_validate_json(body)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
        raise HTTPException(422, f"not an answer: {problems}") from error


def _origin(url: str) -> str:
    """An address as browsers name it: without the port that its scheme has anyway."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RatingError(f"--public-url {url}: not a web address; for example https://rate.example.org")
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}".lower()


def _foreign(request: Request, own_origin: str | None) -> str | None:
    """Why a request that changes something does not come from our own page; None where it does."""
    origin = request.headers.get("origin")
    if origin is not None:
        ours = {own_origin, f"{request.url.scheme}://{request.headers.get('host', '')}".lower()}
        if origin.lower() not in ours:
            return "answers are taken from the study's own page only (foreign origin)"
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "answers are taken from the study's own page only (cross-site request)"
    return None


def _message(title: str, text: str, root: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(TEMPLATES.get_template("message.html").render(title=title, text=text, root=root), status)
