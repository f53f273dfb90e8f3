"""The pages: what each address answers, in the language of whoever asks."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from skinjax.app import views
from skinjax.app.engine import AnsweredCase, Engine
from skinjax.app.figures import RunFigures
from skinjax.app.grouping import group_photos
from skinjax.app.guard import REPORT_POLICY
from skinjax.app.language import Language, chosen, languages, sentence
from skinjax.app.questions import FIELD, RUN_FIELD, digest, entries
from skinjax.app.uploads import Form, Limits, Upload, UploadError, discard, printable, read_form, read_text
from skinjax.app.worker import BusyError, Worker

_HERE = Path(__file__).parent
_LOG = logging.getLogger(__name__)

CASE_LIMITS = Limits()
"""Limits of the photos of one case."""

BATCH_LIMITS = Limits(photos=200)
"""Limits of many cases in one form, as browsers without scripts send them."""

MOST_NAMES, NAME_BYTES = 20_000, 8_000_000
"""Photos of a batch that is sent case by case, and bytes of the list of their names."""

LANGUAGE_COOKIE = "skinjax_language"
_PAGES = ("/", "/batch", "/run")
_STATIC = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
_REPORT_KINDS = {
    ".html": "text/html", ".csv": "text/csv", ".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json",
    ".md": "text/plain", ".txt": "text/plain",
}  # fmt: skip


@functools.cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["sentence"] = sentence
    return made


@dataclasses.dataclass(frozen=True, eq=False)
class Pages:
    """The pages of one run.

    Attributes:
      engine: What answers.
      worker: The thread that it answers in.
      figures: The run's own figures.
      notes: What the answers rest on, in sentences.
    """

    engine: Engine
    worker: Worker
    figures: RunFigures = dataclasses.field(default_factory=RunFigures)
    notes: tuple[str, ...] = ()

    def routes(self) -> list[Route]:
        """Returns the addresses."""
        return [
            Route("/", self.photo_page),
            Route("/answer", self._posted(self.answer_page), methods=["POST"]),
            Route("/batch", self.batch_page),
            Route("/batch", self._posted(self.answer_batch), methods=["POST"]),
            Route("/batch/groups", self._posted(self.groups), methods=["POST"]),
            Route("/batch/case", self._posted(self.answer_row), methods=["POST"]),
            Route("/run", self.run_page),
            Route("/report/{path:path}", self.report),
            Route("/language", self.language),
            Route("/static/{name}", self.static),
        ]

    async def photo_page(self, request: Request) -> Response:
        """Shows the form for one case."""
        return self._page(request, "photo.html.j2", "photo_title", case=None, problem="")

    async def answer_page(self, request: Request, say: Language) -> Response:
        """Answers one case, as a whole page or for the script on it."""
        found = await self._answered(request, say)
        if found.answer.error is not None:
            raise UploadError("error_photo", 422, entered=found.given, **views.unreadable(found.answer, say))
        view = views.case_view(found, self.engine, self.figures, say)
        if _for_script(request):
            html = _templates().get_template("case.html.j2").render(case=view, say=say, notes=self.notes)
            return JSONResponse({"summary": view["summary"], "html": html})
        return self._page(request, "photo.html.j2", "photo_title", case=view, problem="", given=found.given)

    async def batch_page(self, request: Request) -> Response:
        """Shows the form for many cases."""
        return self._batch(request, ())

    async def answer_batch(self, request: Request, say: Language) -> Response:
        """Answers many cases that came in one form."""
        async with self.worker.turn():
            form = await self._form(request, BATCH_LIMITS)
            by = form.fields.get("by", "folder")
            groups = _groups([upload.name for upload in form.uploads], by)
            rows = []
            for case, places in groups:
                uploads = [form.uploads[place] for place in places]
                rows.append(await self.worker.compute(functools.partial(self._row, case, uploads, say)))
        lines = [views.csv_head(self.engine.predictor.taxonomy), *(row["csv"] for row in rows)]
        address = "data:text/csv;charset=utf-8," + quote("\ufeff" + "\r\n".join(lines) + "\r\n")
        return self._batch(request, rows, status=say("finished", cases=len(rows)), csv=address, by=by)

    async def groups(self, request: Request, say: Language) -> Response:
        """Answers which photos are of one case, by their names."""
        document = await read_text(request.stream(), NAME_BYTES)
        names = document.get("names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UploadError("error_groups")
        if len(names) > MOST_NAMES:
            raise UploadError("error_many", 413, photos=MOST_NAMES)
        groups = _groups(names, str(document.get("by")))
        return JSONResponse({"groups": [{"case": case, "members": places} for case, places in groups]})

    async def answer_row(self, request: Request, say: Language) -> Response:
        """Answers one case of a batch with its row of the table."""
        taxonomy = self.engine.predictor.taxonomy
        async with self.worker.turn():
            try:
                form = await self._form(request, CASE_LIMITS)
            except UploadError as error:
                row = views.error_row("", 0, say(error.phrase, **error.values), taxonomy, say)
            else:
                case = printable(form.fields.get("case", ""), 200)
                row = await self.worker.compute(functools.partial(self._row, case, form.uploads, say))
        html = _templates().get_template("batch_rows.html.j2").render(rows=[row], say=say)
        return JSONResponse({"row": html})

    async def run_page(self, request: Request) -> Response:
        """Shows how good the run is."""
        rows = views.class_rows(self.figures, self.engine.predictor.taxonomy, _language(request))
        return self._page(
            request, "run.html.j2", "run_title",
            headline=self.figures.headline, report=self.figures.page is not None, classes=rows,
        )  # fmt: skip

    async def report(self, request: Request) -> Response:
        """Serves the files of the run's report."""
        page = self.figures.page
        if page is None or "\0" in request.path_params["path"]:
            raise HTTPException(404)
        path = (page.parent / request.path_params["path"]).resolve()
        if not path.is_relative_to(page.parent.resolve()):
            raise HTTPException(404)
        if path.suffix not in _REPORT_KINDS or not path.is_file():
            raise HTTPException(404)
        name = path.name if path.suffix == ".csv" else None
        return FileResponse(
            path,
            media_type=_REPORT_KINDS[path.suffix],
            filename=name,
            headers={"Content-Security-Policy": REPORT_POLICY},
        )

    async def language(self, request: Request) -> Response:
        """Remembers the language that was chosen by a link, and goes back to where that was."""
        back = request.query_params.get("back", "")
        response = RedirectResponse(back if back in _PAGES else "/", 303)
        if (code := request.query_params.get("to", "")) in languages():
            response.set_cookie(LANGUAGE_COOKIE, code, max_age=365 * 86400, httponly=True, samesite="lax")
        return response

    async def static(self, request: Request) -> Response:
        """Serves the style sheet, the script and the icon."""
        name = request.path_params["name"]
        if name not in _STATIC:
            raise HTTPException(404)
        return FileResponse(_HERE / "static" / name, media_type=_STATIC[name])

    async def missing(self, request: Request, error: Exception) -> Response:
        """Says that there is no such page."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        return self._problem(request, _language(request)("error_address"), status)

    # -------------------------------------------------------------------------------------------------- answers

    def _posted(
        self, answer: Callable[[Request, Language], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Returns an address that tells whatever goes wrong in one sentence."""

        async def answered(request: Request) -> Response:
            say = _language(request)
            try:
                return await answer(request, say)
            except UploadError as error:
                told = say(error.phrase, **error.values)
                return self._problem(request, told, error.status, error.entered, error.faults)
            except BusyError:
                await discard(request.stream(), CASE_LIMITS)
                return self._problem(request, say("error_busy"), 503, busy=True)
            except ClientDisconnect:  # nobody is there to be told
                return Response(status_code=400)
            except Exception:
                _LOG.exception("a case was not answered")
                return self._problem(request, say("error_inside"), 500)

        return answered

    async def _form(
        self, request: Request, limits: Limits, check: Callable[[Mapping[str, str]], object] | None = None
    ) -> Form:
        form = await read_form(request.headers.get("content-type", ""), request.stream(), limits, check)
        if not form.uploads:
            raise UploadError("error_none", 422)
        return form

    async def _answered(self, request: Request, say: Language) -> AnsweredCase:
        async with self.worker.turn():
            read = functools.partial(entries, self.engine.questions, say=say)
            form = await self._form(request, CASE_LIMITS, check=read)
            given = read(form.fields)
            return await self.worker.compute(
                functools.partial(self.engine.answer, "", form.uploads, given=given)
            )

    def _row(self, case: str, uploads: Sequence[Upload], say: Language) -> dict[str, Any]:
        taxonomy = self.engine.predictor.taxonomy
        if len(uploads) > CASE_LIMITS.photos:
            problem = say("error_many", photos=CASE_LIMITS.photos)
            return views.error_row(case, len(uploads), problem, taxonomy, say)
        found = self.engine.answer(case, uploads, pictures=False)
        return views.row_view(found.answer, len(uploads), taxonomy, say)

    # ---------------------------------------------------------------------------------------------------- pages

    def _batch(self, request: Request, rows: Sequence[Any], **more: Any) -> Response:
        more = {"status": "", "problem": "", "csv": "", "by": "folder"} | more
        header = views.csv_head(self.engine.predictor.taxonomy)
        return self._page(
            request, "batch.html.j2", "batch_title",
            rows=rows, columns=views.COLUMNS, header=header, most_names=MOST_NAMES, **more,
        )  # fmt: skip

    def _page(
        self, request: Request, template: str, title: str, status_code: int = 200, **context: Any
    ) -> Response:
        say = _language(request)
        here = request.url.path if request.url.path in _PAGES else "/"
        context = {"given": {}, "faults": {}} | context
        html = (
            _templates()
            .get_template(template)
            .render(
                say=say, languages=languages(), here=here, title=say(title),
                kept=self.engine.keep.name if self.engine.keep else "",
                rendered=self.engine.context.photo.rendered is not None,
                limits=CASE_LIMITS, notes=self.notes, questions=self.engine.questions, field=FIELD,
                run_field=RUN_FIELD, digest=digest(self.engine.questions), **context,
            )
        )  # fmt: skip
        headers = {"Content-Language": say.tag, "Vary": "Accept, Accept-Language, Cookie"}
        return HTMLResponse(html, status_code, headers)

    def _problem(
        self,
        request: Request,
        told: str,
        status: int,
        given: Mapping[str, str] | None = None,
        faults: Mapping[int, str] | None = None,
        **more: Any,
    ) -> Response:
        told, faults = sentence(told), faults or {}
        headers = {"Retry-After": "60"} if status == 503 else {}
        if _for_script(request):
            more |= {"faults": faults} if faults else {}
            return JSONResponse({"problem": told, **more}, status, headers)
        path = request.url.path
        if path == "/answer":
            response = self._page(
                request,
                "photo.html.j2",
                "photo_title",
                status,
                case=None,
                problem="" if faults else told,  # of entries at fault each says it
                given=given or {},
                faults=faults,
            )
        else:
            response = self._page(request, "message.html.j2", "error_title", status, problem=told)
        response.headers.update(headers)
        return response


def _groups(names: Sequence[str], by: str) -> list[tuple[str, list[int]]]:
    try:
        return group_photos(names, by)
    except ValueError:
        raise UploadError("error_groups") from None


def _language(request: Request) -> Language:
    return chosen(request.cookies.get(LANGUAGE_COOKIE, ""), request.headers.get("accept-language", ""))


def _for_script(request: Request) -> bool:
    return request.headers.get("accept", "").startswith("application/json")
