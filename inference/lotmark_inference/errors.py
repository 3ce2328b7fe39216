"""What inference raises. Callers catch the root or a leaf."""


class InferenceError(Exception):
    """A model, engine or input cannot be used."""


class ModelRefused(InferenceError):
    """A model's file, manifest or registration do not agree, or nobody has admitted it."""


class EngineError(InferenceError):
    """An engine cannot be opened, or failed; no input was scored."""


class InputRefused(InferenceError):
    """An input is none that the model can judge."""


class PolicyRefused(InferenceError):
    """An inspection policy's document does not say what it has to, or says it in two ways."""


class CatalogueRefused(InferenceError):
    """A label catalogue's document is not sound, or a label is not in the catalogue."""
