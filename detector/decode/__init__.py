"""Bytes → events, and why some are none: records of any JSON shape, times, customers' keys, placement in partitions."""

from detector.decode.customers import CustomerKeys, alias_forms, customer_key, phone_e164
from detector.decode.decoder import Decoder, invalid
from detector.decode.shape import JSON, Format, TimeField
from detector.decode.times import Unit

__all__ = [
    "JSON",
    "CustomerKeys",
    "Decoder",
    "Format",
    "TimeField",
    "Unit",
    "alias_forms",
    "customer_key",
    "invalid",
    "phone_e164",
]
