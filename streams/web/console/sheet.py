"""Tables as files to keep."""

from collections.abc import Iterable, Sequence

from fastapi.responses import StreamingResponse

from streams.store.spreadsheet import table_lines


def csv_file(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingResponse:
    """Return a table as a file to keep; `name` is ours, in ASCII, without the suffix."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(table_lines(header, rows), media_type="text/csv; charset=utf-8", headers=headers)
