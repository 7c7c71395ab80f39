"""Everything that can go wrong between a model's files and its outputs."""


class RuntimeAdapterError(Exception):
    """Root of this room's errors; the text is one line for a person."""


class RuntimeUnavailableError(RuntimeAdapterError):
    """The library of a runtime is not installed, or cannot run on this platform."""


class UnknownRuntimeError(RuntimeAdapterError):
    """No runtime has this name, in this version or a later one."""


class ModelLoadError(RuntimeAdapterError):
    """A model could not be read or compiled."""


class InferenceError(RuntimeAdapterError):
    """A predict call failed."""
