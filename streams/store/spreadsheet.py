"""Tables as CSV that a spreadsheet takes for text, row by row; and the table of affected customers."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence

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


def table_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    r"""Yield the lines of a table's file, the header first.

    Examples
    --------
    >>> list(table_lines(["a", "b"], [["=1+1", None], ["x,y", 2]]))
    ['a,b\r\n', "'=1+1,\r\n", '"x,y",2\r\n']
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    for row in itertools.chain([header], rows):
        writer.writerow([guarded(cell) for cell in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def decisions(document: Document) -> str:
    """Return what was decided to tell a customer, in one cell."""
    parts = (
        f"{notice['kind']} {notice['state']}" + (f" ({notice['reason']})" if notice["reason"] else "")
        for notice in document["notices"]
    )
    return "; ".join(parts)


def lines(affected: Iterable[Document]) -> Iterator[str]:
    """Yield the lines of the file of affected customers, the header first."""
    names = (*COLUMNS, *WORTH)
    rows = ((*(document[name] for name in names), decisions(document)) for document in affected)
    return table_lines((*names, "notices"), rows)


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
