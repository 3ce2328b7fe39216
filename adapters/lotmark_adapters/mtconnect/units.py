"""Units of MTConnect as UCUM writes them."""

# Both lists are facts of their standards: MTConnect part 2 (UnitEnum), and UCUM 2.1. A value in
# three dimensions has the unit of each of its numbers.
_UCUM = {
    "AMPERE": "A",
    "CELSIUS": "Cel",
    "COUNT": "1",
    "COUNT/SECOND": "/s",
    "COULOMB": "C",
    "CUBIC_MILLIMETER": "mm3",
    "CUBIC_MILLIMETER/SECOND": "mm3/s",
    "CUBIC_MILLIMETER/SECOND^2": "mm3/s2",
    "DECIBEL": "dB",
    "DEGREE": "deg",
    "DEGREE/SECOND": "deg/s",
    "DEGREE/SECOND^2": "deg/s2",
    "GRAM": "g",
    "GRAM/CUBIC_METER": "g/m3",
    "HERTZ": "Hz",
    "JOULE": "J",
    "KILOGRAM": "kg",
    "LITER": "L",
    "LITER/SECOND": "L/s",
    "METER/SECOND^2": "m/s2",
    "MICRO_RADIAN": "urad",
    "MILLIGRAM": "mg",
    "MILLIGRAM/CUBIC_MILLIMETER": "mg/mm3",
    "MILLILITER": "mL",
    "MILLIMETER": "mm",
    "MILLIMETER/REVOLUTION": "mm/{rev}",
    "MILLIMETER/SECOND": "mm/s",
    "MILLIMETER/SECOND^2": "mm/s2",
    "NEWTON": "N",
    "NEWTON_METER": "N.m",
    "OHM": "Ohm",
    "PASCAL": "Pa",
    "PASCAL/SECOND": "Pa/s",
    "PASCAL_SECOND": "Pa.s",
    "PERCENT": "%",
    "PH": "[pH]",
    "REVOLUTION/MINUTE": "{rev}/min",
    "REVOLUTION/SECOND": "{rev}/s",
    "REVOLUTION/SECOND^2": "{rev}/s2",
    "SECOND": "s",
    "SIEMENS/METER": "S/m",
    "UNIT_VECTOR": "1",
    "VOLT": "V",
    "VOLT_AMPERE": "V.A",
    "VOLT_AMPERE_REACTIVE": "V.A{reactive}",
    "WATT": "W",
    "WATT_SECOND": "W.s",
}


def ucum(units: str) -> str:
    """Return the UCUM code of a data item's `units`, empty where this table has none."""
    return _UCUM.get(units.removesuffix("_3D"), "")
