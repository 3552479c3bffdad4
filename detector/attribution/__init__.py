"""Attribution: the dimension values that explain what deviates in one window of one signal (a cube).

`cube` holds the input, `expected`, `counts` and `values` turn leaves into evidence, `lattice` sums it over every set
of dimension values, `search` finds the causes, `screen` makes huge cubes small, `explain` is the way in.
"""

from detector.attribution.cube import Cube
from detector.attribution.explain import Cause, Explanation, Kind, explain

__all__ = ["Cause", "Cube", "Explanation", "Kind", "explain"]
