"""The text of a site's settings, to be changed by tests."""

SITE_TOML = """\
site = "line-3"
data = "data"
client = "client.toml"
trusted_lab_certificates = "labs"
metrics_listen = "127.0.0.1:0"
alarm_post = "http://127.0.0.1:9100/alarm"

[store]
quota_mb = 100
retention_days = 30

[[source]]
name = "W07"
protocol = "opcua"
address = "opc.tcp://127.0.0.1:4840"
equipment = "https://id.gs1.org/8004/4012345W07"
calibration = "dcc-88-12.xml"
gauge_ids = ["SN-4711"]
calibration_valid_days = 365
clock_uncertainty_ms = 250
subject = { signal = "serial", prefix = "https://id.gs1.org/01/04012345000023/21/" }
options = { publishing_ms = 50 }

[[source.signal]]
name = "weld"
address = "ns=2;s=W07.Weld"
is_counter = true

[[source.signal]]
name = "serial"
address = "ns=2;s=W07.Serial"

[[source.signal]]
name = "current"
address = "ns=2;s=W07.Current"
feature = "weld_{weld}.current"
unit = "kA"
lower = "7.6"
upper = "8.8"

[[source]]
name = "mill"
protocol = "mtconnect"
address = "http://127.0.0.1:5000/OKUMA"

[policy]
name = "line-3"
version = 4
rules = [
    { signals = "W07/*", when = "outside", anchor = "full" },
    { signals = "*/*", anchor = "window", window_s = 30, window_count = 500 },
]
"""
