"""What is wrong with one record, so that a reader can turn it into a rejection and go on."""

from smartedit.data.examples import Reason


class FaultyRecordError(ValueError):
    """One record cannot become a row; `reason` names the kind of fault and the message the offending value."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
