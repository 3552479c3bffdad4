"""Where an event's parts stand in a record, and the typed structs made from it: the rest is skipped unparsed.

A `Shape` is generated from the schema (which fields the signals use) and the format (where they are). It decodes, and
turns decoded records into columns. It judges nothing: `detector/decode.py` does.
"""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from detector.decode.times import Unit
from detector.errors import ConfigError, Problem
from detector.events import EventSchema, canonical

Path = tuple[str, ...]
"""Keys from the record's top down to a value."""

Row = Any
"""A decoded record, as `Shape.decode_lines` gives it: an instance of a generated struct."""
Item = Any
"""A decoded record, as `Shape.items` gives it and columns are taken of."""


class TimeField(msgspec.Struct, frozen=True):
    """Where the time stands and how it is written."""

    path: Path = ("time",)
    unit: Unit = Unit.ISO
    zone_ms: int | None = None
    """How far ahead of UTC ISO times are that state no zone; None: such a text is no time."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event's parts stand in JSON of any shape. The default is our own: flat, under the parts' own names."""

    time: TimeField = TimeField()
    id: Path | None = ("id",)
    """None: the records have no ids, so no duplicate is known."""
    customer: Path | None = ("customer",)
    kind: Path | None = ("kind",)
    constant_kind: str | None = None
    """The kind of all records, where they do not say it (`kind` is None)."""
    fields: dict[str, Path] = msgspec.field(default_factory=dict)
    """Event field → where it stands; a field not listed stands at the top under its own name."""

    def path_of(self, field: str) -> Path:
        return self.fields.get(field, (field,))


JSON = Format()
"""Our own event: `{"id", "time", "kind", "customer", …dimensions and values}`."""

_Types = frozenset[type]
_TEXT: _Types = frozenset({str})
_NAME: _Types = frozenset({str, int, type(None)})
_CATEGORY: _Types = frozenset({str, int, float, bool, type(None)})
_NUMBER: _Types = frozenset({float, int, type(None)})
_EPOCH: _Types = frozenset({str, int, float})

_UNREADABLE = re.compile(r'["\\\x00-\x1f]')

_MOST_LITERALS = 200
_BLOCKS_PER_CHANGE = 64
_FREE_CHANGES = 8


class _Leaf:
    """One value of a record: which types it may have, and (for a category) the texts seen so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.types: _Types = _CATEGORY
        self.required = False
        self.filled = False
        """Whether an empty text counts as missing."""
        self.texts: set[str] | None = None
        """Texts to be decoded as literals; None: too many or too fickle."""
        self.changes = 0

    def type(self, literal: bool, bools: bool) -> Any:
        types: set[Any] = set(self.types)
        if literal and not bools and len(types) > 1:
            types.discard(bool)
        if float in types and str not in types and not self.required:
            types.discard(int)
        if str in types and literal and self.texts:
            types.remove(str)
            types.add(Literal[tuple(sorted(self.texts))])
        elif self.filled:
            types = {Annotated[str, msgspec.Meta(min_length=1)]}
        joined = types.pop()
        for one in sorted(types, key=str):
            joined = joined | one
        return joined


class Shape:
    """A record's generated type.

    Category fields are decoded as literals of the texts seen so far where these are few: such texts are one object
    each, so that making them costs nothing and their hash is known. A new text makes the type anew. It is an
    optimisation only: what is decoded is equal either way.

    Raises
    ------
    ConfigError
        Two parts exclude each other: one is a value where the other needs an object, or no type fits both.
    """

    def __init__(self, schema: EventSchema, format: Format) -> None:
        self._format = format
        self._leaves: dict[Path, _Leaf] = {}
        self._add(format.time.path, _TEXT if format.time.unit is Unit.ISO else _EPOCH, required=True)
        if format.kind is not None:
            self._add(format.kind, _TEXT, required=True).filled = True
        for path in (format.id, format.customer):
            if path is not None:
                self._add(path, _NAME)
        categories = [name for name in schema.fields if name != "kind"]
        for name in categories:
            self._add(format.path_of(name), _CATEGORY)
        for name in schema.numbers:
            self._add(format.path_of(name), _NUMBER)
        self._check()
        learned = {format.path_of(name) for name in categories} | ({format.kind} if format.kind else set())
        for path in learned:
            leaf = self._leaves[path]
            if str in leaf.types and path not in (format.time.path, format.id, format.customer):
                leaf.texts = set()
        # The fields' columns come first, so that a row of a flat record begins with its fields.
        kind = [format.kind] if format.kind else []
        order = dict.fromkeys([*kind, *map(format.path_of, categories), *self._leaves])
        self._attribute = {path: f"f{i}" for i, path in enumerate(order)}
        self.bools = False
        """Whether a category was ever true or false: then every row's are spelled out (True == 1 in a dictionary)."""
        self.plain = msgspec.json.Decoder(self._struct(literal=False))
        self._literal = msgspec.json.Decoder(self._struct(literal=True))
        self._taught = False
        self._blocks = 0
        paths = [*kind, *map(format.path_of, categories)]
        self._flat = all(len(path) == 1 for path in order) and bool(kind) and len(set(paths)) == len(paths)
        self.fields = self._fields(paths)
        """Takes each item's tuple of `schema.fields`."""

    def _add(self, path: Path, types: _Types, *, required: bool = False) -> _Leaf:
        leaf = self._leaves.setdefault(path, _Leaf(path))
        leaf.types &= types
        leaf.required |= required
        return leaf

    def _check(self) -> None:
        problems = []
        for path, leaf in self._leaves.items():
            if not leaf.types - {type(None)}:
                problems.append(Problem(dotted(path), "two parts of the event", "parts of one type, or two places"))
            if any(_UNREADABLE.search(key) for key in path):
                problems.append(Problem(dotted(path), "a quote, backslash or control character", "a key without them"))
            for above in (path[:i] for i in range(1, len(path))):
                if above in self._leaves:
                    what = f"a value that is read from {dotted(above)} itself"
                    problems.append(Problem(dotted(path), what, f"{dotted(above)} to be an object, or a value"))
        if problems:
            raise ConfigError(problems)

    # --- the type -------------------------------------------------------------------------------------------------

    def _struct(self, *, literal: bool) -> Any:
        return self._level((), literal)[0]

    def _level(self, above: Path, literal: bool) -> tuple[Any, bool]:
        """Return the struct of the objects under a path, and whether one must be there."""
        depth = len(above)
        keys = dict.fromkeys(path[depth] for path in self._attribute if path[:depth] == above)
        fields: list[Any] = []
        rename: dict[str, str] = {}
        required = False
        for key in keys:
            path = (*above, key)
            leaf = self._leaves.get(path)
            name = self._name(path)
            rename[name] = key
            if leaf is not None:
                needed = leaf.required
                fields.append((name, leaf.type(literal, self.bools), msgspec.NODEFAULT if needed else None))
            else:
                inner, needed = self._level(path, literal)
                if needed:
                    fields.append((name, inner))
                else:
                    fields.append((name, inner | None, msgspec.field(default_factory=inner)))
            required |= needed
        namespace = {} if above or self._format.constant_kind is None else {"kind": self._format.constant_kind}
        made = msgspec.defstruct("Record", fields, rename=rename, namespace=namespace, kw_only=True, gc=False)
        return made, required

    def _name(self, path: Path) -> str:
        """Return the attribute of a leaf or, named after the first leaf in it, of an object."""
        if path in self._attribute:
            return self._attribute[path]
        return "n" + next(name for leaf, name in self._attribute.items() if leaf[: len(path)] == path) + f"_{len(path)}"

    def attribute(self, path: Path) -> str:
        """Return the dotted attributes that lead to a value."""
        return ".".join(self._name(path[: i + 1]) for i in range(len(path)))

    # --- decoding -------------------------------------------------------------------------------------------------

    def decode_lines(self, block: bytes) -> list[Row]:
        """Return the records of a block.

        Raises
        ------
        msgspec.DecodeError, RecursionError
            One of them is none.
        """
        self._blocks += 1
        try:
            rows: list[Row] = self._literal.decode_lines(block)
            if self._taught:
                return rows
        except msgspec.ValidationError:
            rows = self.plain.decode_lines(block)
        self._learn(rows)
        return rows

    def _learn(self, rows: list[Row]) -> None:
        """Take the texts of these records for literals."""
        items = self.items(rows)
        categories = [leaf for leaf in self._leaves.values() if bool in leaf.types]
        bools = self.bools or any(isinstance(v, bool) for c in categories for v in self.column(c.path)(items))
        changed = bools != self.bools
        self._taught, self.bools = True, bools
        for path, leaf in self._leaves.items():
            if leaf.texts is None:
                continue
            new = {v for v in self.column(path)(items) if isinstance(v, str)} - leaf.texts
            if not new:
                continue
            changed = True
            leaf.changes += 1
            leaf.texts |= new
            if len(leaf.texts) > _MOST_LITERALS or leaf.changes > _FREE_CHANGES + self._blocks // _BLOCKS_PER_CHANGE:
                leaf.texts = None
        if changed:
            self._literal = msgspec.json.Decoder(self._struct(literal=True))

    # --- columns --------------------------------------------------------------------------------------------------

    def items(self, rows: list[Row]) -> list[Item]:
        """Return the records in the form that columns are taken of: tuples, the fastest, where all parts are flat."""
        return list(map(msgspec.structs.astuple, rows)) if self._flat else rows

    def column(self, path: Path) -> Callable[[Sequence[Item]], list[Any]]:
        """Return what takes one value of each item; None where an object on the way is null."""
        if self._flat:
            of_tuple = operator.itemgetter(list(self._attribute).index(path))
            return lambda items: list(map(of_tuple, items))
        attribute = self.attribute(path)
        plain, careful = operator.attrgetter(attribute), _careful(attribute)

        def take(items: Sequence[Item]) -> list[Any]:
            try:
                return list(map(plain, items))
            except AttributeError:
                return list(map(careful, items))

        return take

    def _fields(self, paths: list[Path]) -> Callable[[Sequence[Item]], list[tuple[object, ...]]]:
        if self._flat:
            first = operator.itemgetter(slice(0, len(paths)))
            return lambda items: list(map(first, items))
        names = [self.attribute(path) for path in paths]
        if self._format.kind is None:
            names.insert(0, "kind")
        if len(names) == 1:
            (only,) = map(operator.attrgetter, names)
            return lambda items: [(only(item),) for item in items]
        several, one_by_one = operator.attrgetter(*names), [_careful(name) for name in names]

        def take(items: Sequence[Item]) -> list[tuple[object, ...]]:
            try:
                return list(map(several, items))
            except AttributeError:
                return [tuple(get(item) for get in one_by_one) for item in items]

        return take


def spelled(row: tuple[object, ...]) -> tuple[object, ...]:
    """Return a row with true and false as texts.

    Examples
    --------
    >>> spelled(("login", True, 1, None))
    ('login', 'true', 1, None)
    """
    return tuple(canonical(value) if isinstance(value, bool) else value for value in row)


def _careful(attribute: str) -> Callable[[Row], Any]:
    """Return what takes an attribute; None where an object on the way is null."""
    steps = attribute.split(".")

    def get(item: Item) -> Any:
        for step in steps:
            item = getattr(item, step, None)
        return item

    return get


def dotted(path: Path) -> str:
    """Return a path as messages write it.

    Examples
    --------
    >>> dotted(("user", "id"))
    '$.user.id'
    """
    return ".".join(("$", *path))
