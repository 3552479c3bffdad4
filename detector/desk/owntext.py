"""A text with placeholders that the user wrote: what it may hold, and what filling it gives.

Promises
- Logic-light: placeholders, a word that stands in for an empty one (`{{ name or "pelanggan" }}`) and
  `{% if what %}…{% else %}…{% endif %}`. No loop, filter, call or attribute, so that reading it tells what it gives.
- An unknown placeholder is an error when it is read, with its line.
- Values are text and data: whatever they hold is never taken as a template.
"""

from collections.abc import Mapping

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment

from detector.errors import ConfigError, Problem
from detector.fields import did_you_mean, listed, shown

PLACEHOLDERS = {
    "name": "the customer's name; may be empty",
    "what": "what they tried, of the signal's `what`; may be empty",
    "title": "the signal's title",
    "when": "the moment in their local time, with its zone",
    "failed": "`yes`; empty where it worked, but badly",
    "promise": "the signal's `promise`, without a full stop; may be empty",
    "workaround": "the signal's `workaround` as a sentence; may be empty",
    "unsubscribe_url": "where they can withdraw their consent; empty without `service.public_url`",
}
"""What a text may ask for, and what it gets."""

MAY_BE_EMPTY = ("name", "what", "failed", "promise", "workaround", "unsubscribe_url")

_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.If,
    nodes.CondExpr,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Const,
)
_EXPECTED = 'placeholders, {{ name or "…" }} and {% if … %}'

_environment = SandboxedEnvironment(
    autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
)


class OwnText:
    """One text, read and checked.

    Raises
    ------
    ConfigError
        With every mistake at once; each path is the line, such as `line 3`.

    Examples
    --------
    >>> OwnText("Halo {{ name or 'pelanggan' }}{% if what %}, {{ what }}{% endif %}.").fill({"name": "", "what": "VA"})
    'Halo pelanggan, VA.'
    """

    def __init__(self, source: str, first_line: int = 1) -> None:
        self.source = source
        try:
            tree = _environment.parse(source)
        except TemplateSyntaxError as error:
            found = (error.message or "a mistake").rstrip(".")
            raise ConfigError([Problem(f"line {error.lineno + first_line - 1}", found, _EXPECTED)]) from error
        problems: list[Problem] = []
        _check(tree, first_line - 1, problems)
        if problems:
            raise ConfigError(problems)
        self.placeholders = frozenset(found.name for found in tree.find_all(nodes.Name))
        self._template = _environment.from_string(tree)

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with these values; one that is missing is empty."""
        return self._template.render({name: values.get(name, "") for name in PLACEHOLDERS})


def _check(node: nodes.Node, before: int, problems: list[Problem]) -> None:
    where = f"line {node.lineno + before}"
    if isinstance(node, nodes.Name):
        if node.name not in PLACEHOLDERS:
            found = f"the placeholder {shown(node.name)}"
            problems.append(Problem(where, found, listed(PLACEHOLDERS), did_you_mean(node.name, PLACEHOLDERS)))
        return
    if not isinstance(node, _ALLOWED) or (isinstance(node, nodes.Const) and not isinstance(node.value, str)):
        problems.append(Problem(where, f"more than that ({type(node).__name__.lower()})", _EXPECTED))
        return
    for child in node.iter_child_nodes():
        _check(child, before, problems)
