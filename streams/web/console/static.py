"""The console's own files (style, scripts, icon), under an address that changes with their content.

So a browser may keep them for ever, and never shows a page with another version's script.
"""

import gzip
import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from streams.web.access import public
from streams.web.problem import ProblemError

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "static"
_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@lru_cache(maxsize=1)
def files() -> dict[str, tuple[bytes, bytes]]:
    """Return each file's bytes, plain and packed, by name."""
    found = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}
    return {name: (data, gzip.compress(data, mtime=0)) for name, data in found.items()}


@lru_cache(maxsize=1)
def version() -> str:
    """Return a hash of all the files: scripts import each other by name, beside themselves."""
    digest = hashlib.sha256()
    for name, (data, _) in files().items():
        digest.update(name.encode() + b"\0" + data + b"\0")
    return digest.hexdigest()[:12]


def asset(name: str) -> str:
    """Return the address of a file.

    Raises
    ------
    KeyError
        There is none of this name.
    """
    files()[name]
    return f"/static/{version()}/{name}"


@router.get("/static/{of}/{name}", dependencies=[public()])
def static(request: Request, of: str, name: str) -> Response:
    """Return a file; that of another version is this version's, which nobody is to keep."""
    found = files().get(name)
    if found is None:
        raise ProblemError(404, "not-found", "there is no such file")
    packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"Cache-Control": _FOR_EVER if of == version() else "no-cache", "Vary": "Accept-Encoding"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(found[1] if packed else found[0], media_type=kind, headers=headers)
