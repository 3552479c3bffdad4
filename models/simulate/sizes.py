"""How large the simulated shop is: its cities, banks and so on, how much traffic it has, and what is watched of it."""

from dataclasses import dataclass

import numpy as np

from detector.events import Floats

_CITIES = (
    *("Jakarta", "Surabaya", "Bandung", "Medan", "Makassar", "Semarang", "Denpasar", "Palembang", "Yogyakarta"),
    *("Balikpapan", "Pekanbaru", "Manado", "Ambon", "Jayapura"),
)
_CITY_WEIGHTS = (24, 13, 11, 9, 7, 7, 6, 5, 5, 4, 4, 2.5, 1.5, 1)
_WITA = {"Makassar", "Denpasar", "Balikpapan", "Manado"}
_WIT = {"Ambon", "Jayapura"}
_OTP_PROVIDERS = ("sms-satu", "sms-nusa", "wa-otp", "voice-otp", "mail-otp")
_OTP_WEIGHTS = (34, 26, 24, 8, 8)
_BANKS = ("BCA", "BRI", "Mandiri", "BNI", "BSI", "CIMB Niaga", "Permata", "Danamon", "BTN", "OCBC")
_BANK_WEIGHTS = (24, 19, 17, 13, 8, 6, 4.5, 3.5, 3, 2)
_METHODS = ("card", "va", "qris", "ewallet", "paylater")
_METHOD_WEIGHTS = (26, 27, 24, 17, 6)
_ENDPOINTS = ("/home", "/search", "/product", "/cart", "/orders", "/balance", "/transfer")
_ENDPOINT_WEIGHTS = (24, 21, 21, 12, 9, 8, 5)


def time_zone(city: str) -> str:
    """IANA zone of a city.

    Examples
    --------
    >>> time_zone("Jakarta"), time_zone("Denpasar"), time_zone("Ambon")
    ('Asia/Jakarta', 'Asia/Makassar', 'Asia/Jayapura')
    """
    return "Asia/Jayapura" if city in _WIT else "Asia/Makassar" if city in _WITA else "Asia/Jakarta"


@dataclass(frozen=True)
class Values:
    """A dimension's values and how common they are (not normalised)."""

    names: tuple[str, ...]
    weights: Floats

    def __len__(self) -> int:
        return len(self.names)


def _some(names: tuple[str, ...], weights: tuple[float, ...], count: int, more: str) -> Values:
    """Return the first `count` values, those beyond the list numbered and ever rarer."""
    rarer = [0.8 * weights[-1] / (i - len(names) + 1) ** 0.6 for i in range(len(names), count)]
    numbered = [more.format(i + 1) for i in range(len(names), count)]
    return Values((*names, *numbered)[:count], np.array((*weights, *rarer)[:count], np.float64))


@dataclass(frozen=True)
class Size:
    """A shop of some size.

    `watched` are the dimensions of each signal in signals.yml; `rate` is events a second where none is asked for.
    """

    cities: Values
    otp_providers: Values
    banks: Values
    methods: Values
    endpoints: Values
    watched: dict[str, tuple[str, ...]]
    rate: float


_ALL = {
    "login-failures": ("app_version", "otp_provider", "city", "platform"),
    "payment-declines": ("bank", "method", "city", "app_version"),
    "checkout-silence": ("city", "platform", "app_version"),
    "api-latency": ("endpoint", "city", "app_version"),
}
_FEW = {
    "login-failures": ("app_version", "otp_provider"),
    "payment-declines": ("bank", "method"),
    "checkout-silence": ("platform",),
    "api-latency": ("endpoint",),
}


def _size(
    cities: int, banks: int, rate: float, *, few: int | None = None, watched: dict[str, tuple[str, ...]] = _ALL
) -> Size:
    return Size(
        _some(_CITIES, _CITY_WEIGHTS, cities, "Kota {:03d}"),
        _some(_OTP_PROVIDERS, _OTP_WEIGHTS, few or len(_OTP_PROVIDERS), ""),
        _some(_BANKS, _BANK_WEIGHTS, banks, "Bank {:03d}"),
        _some(_METHODS, _METHOD_WEIGHTS, few or len(_METHODS), ""),
        _some(_ENDPOINTS, _ENDPOINT_WEIGHTS, 2 * few if few else len(_ENDPOINTS), ""),
        watched,
        rate,
    )


SHOP = 300
SIZES = {
    10: _size(14, 4, 2.0, few=2, watched=_FEW),
    SHOP: _size(14, 10, 12.0),
    5_000: _size(76, 48, 40.0),
    50_000: _size(190, 240, 120.0),
}
"""About so many segments (the whole, single values and pairs) has the largest signal, payment-declines: 15, 440, 5,050
and 50,400 with five app versions. 300 is the ordinary shop of the demo."""
