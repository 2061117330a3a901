"""The built page, served beside the API; a friendly text where it is not built."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

NOT_BUILT = """<!doctype html>
<html lang="zh"><meta charset="utf-8"><title>青鸟 Qingniao</title>
<body style="font: 16px/1.6 system-ui; max-width: 40em; margin: 4em auto; padding: 0 1em">
<h1>青鸟 Qingniao</h1>
<p>平台正在运行，页面尚未构建。请在代码目录执行 <code>make web</code>，然后刷新。</p>
<p lang="en">The platform is running; its page is not built yet. Run <code>make web</code> in the
checkout, then reload.</p>
<p><a href="/openapi.json">/openapi.json</a> · <a href="/healthz">/healthz</a> ·
<a href="/incidents?limit=10">/incidents</a></p>
</body></html>
"""


class Page:
    """Answers what no route takes: the page's files, else 404.

    Args:
        folder: What the page was built into; may appear later, or never.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files = None if folder is None else StaticFiles(directory=folder, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if scope["method"] not in {"GET", "HEAD"} or "\0" in scope["path"]:
            raise HTTPException(404)
        response = await self._find(scope)
        await response(scope, receive, send)

    async def _find(self, scope: Scope) -> Response:
        path = scope["path"].lstrip("/")
        if path == "":
            index = None if self._folder is None else self._folder / "index.html"
            if index is None or not index.is_file():
                return HTMLResponse(NOT_BUILT)
            return FileResponse(index, headers={"Cache-Control": "no-cache"})
        if self._files is None or self._folder is None or not self._folder.is_dir():
            raise HTTPException(404)
        response = await self._files.get_response(path, scope)
        if path.startswith("assets/"):
            # Vite puts a digest of the content into these names.
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
