"""A policy for weld inspection, and the text that it is read from."""

from lotmark_inference.policy import InspectionPolicy, read_policy

WELD_POLICY = """
name = "weld"
version = 12
catalogue = "weld-labels/1"
modality = "ring_light_grey"
grey_zone = 1_500
escalate = ["defect", "grey_zone"]
review = ["defect", "grey_zone", "disagreement", "missing_context"]

[judges]
NORMAL = "light"
FIRST_ARTICLE = "both"
REINFORCED = "heavy"

[[triggers]]
on = "shift_start"
mode = "FIRST_ARTICLE"
units = 3

[[triggers]]
on = "tool_change"
mode = "FIRST_ARTICLE"
units = 5

[[triggers]]
on = "nonconforming"
mode = "REINFORCED"
units = 2

[threshold]
low = 2_000
high = 8_000

[[threshold.maps]]
input = "takt_ms"
knots = [{ at = 900, by = -1_000 }, { at = 1_250, by = 0 }]

[[threshold.maps]]
input = "vibration_rms_z_milli"
knots = [{ at = 1_300, by = 0 }, { at = 7_000, by = -2_500 }]
"""


def weld_policy(text: str = WELD_POLICY) -> InspectionPolicy:
    return read_policy(text.encode(), source="weld.toml")


def changed(old: str, new: str) -> str:
    """Return the policy's text with one thing changed."""
    assert old in WELD_POLICY
    return WELD_POLICY.replace(old, new, 1)
