"""The affected customers as CSV that a spreadsheet takes for text, row by row."""

import csv
import io
from collections.abc import Iterable, Iterator

from streams.store import documents, pages
from streams.store.documents import Document
from streams.store.store import Store

COLUMNS = ("customer", "grade", "state", "probability", "first_failure", "last_failure", "tries", "last_success")
WORTH = ("tier", "contract_value", "loss", "loss_unit")
PAGE = 1_000
"""Rows in memory at a time."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(cell: object) -> str:
    """Return a cell's text; what a spreadsheet would take for a formula is made text.

    Examples
    --------
    >>> guarded("=1+1"), guarded("C-1"), guarded(None), guarded(-0.5)
    ("'=1+1", 'C-1', '', '-0.5')
    """
    if cell is None:
        return ""
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and text.startswith(_FORMULA) else text


def decisions(document: Document) -> str:
    """Return what was decided to tell a customer, in one cell."""
    parts = (
        f"{notice['kind']} {notice['state']}" + (f" ({notice['reason']})" if notice["reason"] else "")
        for notice in document["notices"]
    )
    return "; ".join(parts)


def lines(affected: Iterable[Document]) -> Iterator[str]:
    """Yield the lines of the file, the header first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow((*COLUMNS, *WORTH, "notices"))
    for document in affected:
        cells = (*(document[name] for name in (*COLUMNS, *WORTH)), decisions(document))
        writer.writerow([guarded(cell) for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    if buffer.tell():
        yield buffer.getvalue()


def affected_lines(
    store: Store,
    case: str,
    *,
    grade: str | None = None,
    state: str | None = None,
    told: bool | None = None,
    contacted: bool | None = None,
    by_loss: bool = False,
) -> Iterator[str]:
    """Yield the file of those whom a case hit, a page in memory at a time, in an order of the store's own.

    The conditions are those of `pages.affected_page`.
    """

    def found() -> Iterator[Document]:
        after = None
        while True:
            page = pages.affected_page(
                *(store, case),
                grade=grade,
                state=state,
                told=told,
                contacted=contacted,
                by_loss=by_loss,
                after=after,
                limit=PAGE,
            )
            yield from documents.hit_documents(store, case, page.items)
            if page.next is None:
                return
            after = page.next

    yield from lines(found())
