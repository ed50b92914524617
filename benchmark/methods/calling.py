"""Asks an editor for a batch, and makes the best of one that fails: halves it, or goes one by one."""

import logging
from collections.abc import Sequence

from PIL import Image

from benchmark.methods.memory import free_memory, is_out_of_memory
from benchmark.methods.specs import FallibleEditor, MethodError, SampleError
from smartedit.editing import EditRequest, EditResult

logger = logging.getLogger(__name__)

SMALLER = "set offload=model or another quantization or side where the method has them, or use a larger device"


def edit_requests(label: str, editor: FallibleEditor, requests: Sequence[EditRequest]) -> list[EditResult | str]:
    """A result or an error's text for each request.

    One bad sample must not take its batch along, so that a batch that fails goes one by one; and one that is too large
    for the memory goes in halves. Neither changes the batches of the run, which would change other samples' bytes.

    Args:
        label: How the run calls the method.
        editor: The method.
        requests: A batch.

    Returns:
        One for each request, in order.

    Raises:
        MethodError: No request can succeed.
    """
    short: str | None = None
    try:
        made = _call(editor, requests)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        short = _first_line(error)
    if short is not None:
        # Not before the exception is gone: its traceback holds what the failed call had in memory.
        free_memory()
        if len(requests) == 1:
            return [f"out of memory with this picture alone ({short}); {SMALLER}"]
        parts = [requests[: len(requests) // 2], requests[len(requests) // 2 :]]
        logger.warning(
            "%s: out of memory with %d pictures at once; %d instead, for this batch",
            label, len(requests), len(parts[1]),
        )  # fmt: skip
    elif not isinstance(made, str):
        return made
    elif len(requests) == 1:
        return [made]
    else:
        parts = [[r] for r in requests]
        logger.warning("%s: a batch of %d failed (%s); one by one instead", label, len(requests), made)
    return [result for part in parts for result in edit_requests(label, editor, part)]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _call(editor: FallibleEditor, requests: Sequence[EditRequest]) -> list[EditResult | str] | str:
    """An editor's results, or what went wrong; whatever an editor raises belongs to its samples, not to the run.

    Only what no sample can change is raised: a `MethodError`, such as a wrong key, and running out of memory.
    """
    try:
        results = editor.edit(requests)
    except (KeyboardInterrupt, SystemExit, MethodError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"{type(error).__name__}: {error}"
    if not isinstance(results, Sequence) or len(results) != len(requests):
        count = f"{len(results)} results" if isinstance(results, Sequence) else f"a {type(results).__name__}"
        return (
            f"the editor returned {count} for {len(requests)} requests; it must return a list, one for each, in order"
        )
    for result in results:
        if isinstance(result, SampleError):
            continue
        picture = result.image if isinstance(result, EditResult) else result
        if not isinstance(result, EditResult) or not isinstance(picture, Image.Image):
            kind = f"{type(picture).__module__}.{type(picture).__qualname__}"
            return f"the editor returned a picture of type {kind}; it must return EditResult(image=a PIL image)"
    return [str(result) if isinstance(result, SampleError) else result for result in results]
