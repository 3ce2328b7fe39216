"""Two models are tried and put into use at the camera; the labels that they give are approved."""

from importlib.resources import files

from lotmark_inference.label_catalogue import read_catalogue
from lotmark_inference.model_files import shipped_model
from lotmark_node.story.inspection import MODELS, registry_of
from lotmark_node.story.stage import Stage
from lotmark_node.story.weld_models import approve, put_into_use
from lotmark_node.story.welds import CAMERA, PARTY

TITLE = "models"
CLIENT = f"{PARTY}/line-l3"


def run(stage: Stage) -> str:
    """Put on record what may judge, and in which words."""
    ledger = stage.ledger
    told = []
    for name in MODELS:
        model = shipped_model(name)
        count = put_into_use(
            ledger, CLIENT, model, station=CAMERA, registry=registry_of(stage.folder)
        )
        told.append(f"{model.manifest.model} ({len(model.onnx) / 1e3:,.0f} kB, {count} images)")
    raw = (files("lotmark_inference") / "shipped" / "weld-labels.toml").read_bytes()
    catalogue = read_catalogue(raw, source="weld-labels.toml")
    roles = approve(ledger, CLIENT, catalogue)
    return (
        f"tried on ONNX Runtime and put into use at {CAMERA}: {', '.join(told)}\n"
        f"labels {catalogue.full_name}, approved by {', '.join(roles)}"
    )
