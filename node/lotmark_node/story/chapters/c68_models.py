"""Two models are tried and put into use at the camera; the labels that they give are approved."""

from importlib.resources import files

from lotmark_inference.label_catalogue import read_catalogue
from lotmark_inference.model_files import shipped_model
from lotmark_node.story.inspection import MODELS, registry_of
from lotmark_node.story.stage import Stage
from lotmark_node.story.weld_models import put_in_force, put_into_use, registered_operators
from lotmark_node.story.welds import CAMERA, PARTY

TITLE = "models"
CLIENT = f"{PARTY}/line-l3"


def run(stage: Stage) -> str:
    """Put on record what may judge, and in which words."""
    ledger = stage.ledger
    raw = (files("lotmark_inference") / "shipped" / "weld-labels.toml").read_bytes()
    catalogue = read_catalogue(raw, source="weld-labels.toml")
    operators = registered_operators(ledger, CLIENT, catalogue.approvers)
    put_in_force(ledger, CLIENT, catalogue, operators)
    told = []
    for name in MODELS:
        model = shipped_model(name)
        registry = registry_of(stage.folder)
        count = put_into_use(ledger, CLIENT, model, operators, station=CAMERA, registry=registry)
        told.append(f"{model.manifest.model} ({len(model.onnx) / 1e3:,.0f} kB, {count} images)")
    roles = ", ".join(f"{each.party}'s {each.role}" for each in operators)
    return (
        f"tried on ONNX Runtime and put into use at {CAMERA}: {', '.join(told)}\n"
        f"models and labels {catalogue.full_name} are approved by {roles}"
    )
