"""The errors a user can cause: one root, one class for each kind of cause."""


class NLMeansError(Exception):
    """Root of every error raised on purpose; its text is one line for the user."""


class ParameterError(NLMeansError, ValueError):
    """An argument breaks its rule.

    Parameters
    ----------
    name : str
        Name of the argument as the caller wrote it, so that a command line
        can point at its own option.
    rule : str
        The rule, phrased to follow the name: "must be at least 0".
    got : object, optional
        What was given; left out of the text when the rule already says it.
    """

    def __init__(self, name: str, rule: str, got: object = None) -> None:
        self.name = name
        self.rule = rule
        self.got = got
        super().__init__(f"{name} {rule}" + ("" if got is None else f" (got {_short(got)})"))

    def __reduce__(self) -> tuple[type["ParameterError"], tuple[str, str, object]]:
        # Exception.__reduce__ would call __init__ with the joined text alone.
        return type(self), (self.name, self.rule, self.got)


def _short(value: object) -> str:
    """`repr` on one line of bearable length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


class FileError(NLMeansError):
    """A file can not be read, or can not be written as asked."""


class MetadataWarning(UserWarning):
    """Metadata (never pixels) was left behind because the target can not hold it."""
