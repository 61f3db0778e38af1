"""Reads metrics as text from stdin with the parser of Prometheus' own client library, which raises an error for what it refuses.

Usage: parse_metrics.py prometheus|openmetrics. Prints JSON: families (name, type, help, unit) and samples (name, labels, value
as text).
"""
import json
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as prometheus

parser = {"prometheus": prometheus, "openmetrics": openmetrics}[sys.argv[1]]
text = sys.stdin.buffer.read().decode("utf-8")
families = list(parser.text_string_to_metric_families(text))
json.dump(
    {
        "families": [{"name": f.name, "type": f.type, "help": f.documentation, "unit": f.unit} for f in families],
        "samples": [{"name": s.name, "labels": s.labels, "value": repr(float(s.value))} for f in families for s in f.samples],
    },
    sys.stdout,
)
