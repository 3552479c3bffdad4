"""Tables as CSV files that a spreadsheet takes for text, written row by row."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence

from fastapi.responses import StreamingResponse

from streams.store.spreadsheet import guarded


def csv_file(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingResponse:
    """Return a table as a file to keep; `name` is ours, in ASCII, without the suffix."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(lines(header, rows), media_type="text/csv; charset=utf-8", headers=headers)


def lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    r"""Yield the lines of the file, the header first.

    Examples
    --------
    >>> list(lines(["a", "b"], [["=1+1", None], ["x,y", 2]]))
    ['a,b\r\n', "'=1+1,\r\n", '"x,y",2\r\n']
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    for row in itertools.chain([header], rows):
        writer.writerow([guarded(cell) for cell in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
