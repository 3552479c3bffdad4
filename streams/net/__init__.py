"""The one guarded way out for HTTP to an address that a configuration or a person names.

Promises
- `check_url` says every reason against an address before anything is stored; `Way.request` asks again each time.
- A name is resolved once per request, every address it has is checked, and the connection goes to one that was checked,
  while TLS and the Host header keep the name: a name that changes its address in between gains nothing.
- No redirects, no proxies of the environment, no cookies, no connection is kept.
- A request ends within its time limit, whatever the other side does; of an answer 64 KiB are read, unpacked too.
- No message holds the path or the query of an address: they may be secrets.
"""

from streams.net.addresses import STRICT, Address, Network, Rules, check_address, check_url, networks
from streams.net.way import ANSWER_BYTES, LIMIT_S, Answer, NoAnswerError, RefusedError, Resolve, Way, resolve

__all__ = [
    "ANSWER_BYTES",
    "LIMIT_S",
    "STRICT",
    "Address",
    "Answer",
    "Network",
    "NoAnswerError",
    "RefusedError",
    "Resolve",
    "Rules",
    "Way",
    "check_address",
    "check_url",
    "networks",
    "resolve",
]
